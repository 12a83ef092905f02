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
from lilliput.config.searching import GOALS, CompressConfig
from lilliput.config.serving import ServeConfig
from lilliput.config.shipping import BenchmarkConfig, DemoConfig, ExportConfig, QuantizeConfig
from lilliput.config.training import FinetuneConfig, PretrainConfig, TokenizerConfig

__all__ = [
    "GOALS",
    "LARGEST",
    "TARGETS",
    "BenchmarkConfig",
    "CompressConfig",
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
    "ServeConfig",
    "TextDataConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "build",
]
