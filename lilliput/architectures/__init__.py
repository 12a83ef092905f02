"""Architectures of Lilliput's own, for students that are no transformers.

They are models of transformers in every respect: configuration, safetensors, ``save_pretrained``. Importing this
package registers them with ``AutoConfig`` and ``AutoModelForSequenceClassification``.
"""

from transformers import AutoConfig, AutoModelForSequenceClassification

from lilliput.architectures.convolutional import ConvolutionalConfig, ConvolutionalForSequenceClassification
from lilliput.architectures.static import StaticConfig, StaticForSequenceClassification

__all__ = [
    "ConvolutionalConfig",
    "ConvolutionalForSequenceClassification",
    "StaticConfig",
    "StaticForSequenceClassification",
]

AutoConfig.register(ConvolutionalConfig.model_type, ConvolutionalConfig)
AutoModelForSequenceClassification.register(ConvolutionalConfig, ConvolutionalForSequenceClassification)
AutoConfig.register(StaticConfig.model_type, StaticConfig)
AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification)
