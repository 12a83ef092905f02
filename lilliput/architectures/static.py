"""A student without matrix products over tokens: a table of vectors, added up in windows, pooled."""

from __future__ import annotations

from typing import Any

from lilliput.architectures.windows import WindowClassifier, WindowConfig


class StaticConfig(WindowConfig):
    """Settings of a `StaticForSequenceClassification`; see `WindowConfig`."""

    model_type = "lilliput_static"


class StaticForSequenceClassification(WindowClassifier):
    """Features of windows, as in `TokenWindows`, rectified and pooled.

    In its folded form all that it computes over tokens is a look-up, ``kernel`` additions and the pooling.
    """

    config_class: Any = StaticConfig
