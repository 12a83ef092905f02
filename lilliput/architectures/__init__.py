"""Architectures of Lilliput's own: students that are no transformers, and encoders whose blocks pruning made unequal.

They are models of transformers in every respect: configuration, safetensors, ``save_pretrained``. Importing this
package registers them with ``AutoConfig`` and the ``AutoModel`` classes.
"""

import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification

from lilliput.architectures import pruned
from lilliput.architectures.convolutional import ConvolutionalConfig, ConvolutionalForSequenceClassification
from lilliput.architectures.static import StaticConfig, StaticForSequenceClassification

__all__ = [
    "ConvolutionalConfig",
    "ConvolutionalForSequenceClassification",
    "StaticConfig",
    "StaticForSequenceClassification",
    "pruned",
]

AutoConfig.register(ConvolutionalConfig.model_type, ConvolutionalConfig)
AutoModelForSequenceClassification.register(ConvolutionalConfig, ConvolutionalForSequenceClassification)
AutoConfig.register(StaticConfig.model_type, StaticConfig)
AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification)
for _config in pruned.CONFIGS.values():
    AutoConfig.register(_config.model_type, _config)
for _plain, _pruned in pruned.MODELS.items():
    getattr(transformers, pruned.auto_class_of(_plain)).register(_pruned.config_class, _pruned)
