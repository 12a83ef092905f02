"""One frozen, self-validating class per command; YAML in and out.

A configuration is built from its defaults, then the ``--config`` file, then the flags, the later winning. Every
field is also a flag of its command (``learning_rate`` is ``--learning-rate``) and a key of the file.
"""

from lilliput.config.base import (
    LARGEST,
    Config,
    CorpusConfig,
    DataConfig,
    LoopConfig,
    TextDataConfig,
    TrainingConfig,
    build,
)
from lilliput.config.compression import TARGETS, DistillConfig, PruneConfig
from lilliput.config.shipping import BenchmarkConfig, DemoConfig, ExportConfig, QuantizeConfig
from lilliput.config.training import FinetuneConfig, PretrainConfig, TokenizerConfig

__all__ = [
    "LARGEST",
    "TARGETS",
    "BenchmarkConfig",
    "Config",
    "CorpusConfig",
    "DataConfig",
    "DemoConfig",
    "DistillConfig",
    "ExportConfig",
    "FinetuneConfig",
    "LoopConfig",
    "PretrainConfig",
    "PruneConfig",
    "QuantizeConfig",
    "TextDataConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "build",
]
