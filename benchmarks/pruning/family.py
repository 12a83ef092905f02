"""The pruned models that are measured, by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECOVERY: Mapping[str, Any] = {"augment": 1, "epochs": 2, "learning_rate": 3e-4}
"""Training of every recovery, of rivals' too."""

PRUNED: Mapping[str, Mapping[str, Any]] = {
    "post": {"flops": 0.5, "per_layer": True},
    "x3": {"speedup": 3, "per_layer": True, "recover": True, **RECOVERY},
    "x4": {"speedup": 4, "per_layer": True, "recover": True, **RECOVERY},
    "x8": {"model": "x4", "speedup": 2, "per_layer": True, "recover": True, **RECOVERY},
    "x16": {"model": "x8", "speedup": 2, "per_layer": True, "recover": True, **RECOVERY},
    "small": {"model": "x4", "vocabulary": 6500, "recover": True, **RECOVERY, "augment": 2, "epochs": 4},
    "tiny": {"model": "x8", "vocabulary": 5000, "recover": True, **RECOVERY, "augment": 2, "epochs": 4},
}
"""Settings of `PruneConfig` that differ from the defaults; ``model`` names another member to go on from."""

PACKED: Mapping[str, Mapping[str, Any]] = {
    "small-int4": {"model": "small", "precision": "int4", "max_drop": 1.0, "min_agreement": 0.97},
}
"""Members in fewer bits than int8: settings of `QuantizeConfig`; ``model`` names the member."""
