"""The schedule of a distillation: which losses, for how long, one stage after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lilliput.compress import objectives
from lilliput.compress.representations import Term
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError

SETTINGS: dict[str, Any] = {"epochs": int, "learning-rate": float}
"""Settings of the loop that a stage may have of its own."""


@dataclass(frozen=True)
class Schedule:
    """One stage: its losses with their weights, and the settings of the loop."""

    terms: tuple[Term, ...]
    config: DistillConfig

    @property
    def reads_states(self) -> bool:
        """Whether a loss compares what the models compute inside."""
        return any(objective.on != "predictions" for _, objective in self.terms)

    @property
    def reads_predictions(self) -> bool:
        """Whether a loss compares what the models answer."""
        return any(objective.on == "predictions" for _, objective in self.terms)


def stages(config: DistillConfig) -> list[Schedule]:
    """The stages of ``--stage``, in their order, and then the one of ``--objective``.

    Raises:
        ConfigError: a stage or an objective can't be read.
    """
    found = [_stage(text, config) for text in config.stage]
    last = tuple(_term(text, f"--objective {text}") for text in config.objective)
    return [*found, Schedule(last, config)]


def _stage(text: str, config: DistillConfig) -> Schedule:
    """A stage as in ``hidden-states,relations=0.5,epochs=2,learning-rate=1e-3``."""
    terms, settings = [], {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in SETTINGS:
            terms.append(_term(part.strip(), f"--stage {text}"))
            continue
        try:
            settings[name.replace("-", "_")] = SETTINGS[name](value)
        except ValueError:
            raise ConfigError(f"--stage {text}: {name} must be a number, not {value!r}") from None
    if not terms:
        raise ConfigError(f"--stage {text}: names no objective; known are {', '.join(objectives.names())}")
    try:
        own = type(config).model_validate({**config.model_dump(), **settings})
    except ValueError:
        raise ConfigError(f"--stage {text}: epochs must be 1 to 1000, learning-rate above 0 and at most 1") from None
    return Schedule(tuple(terms), own)


def _term(text: str, flag: str) -> Term:
    """An objective and its weight, as in ``relations=0.5``."""
    name, is_given, value = text.partition("=")
    setting = name.replace("-", "_")
    if setting in DistillConfig.model_fields and setting not in ("objective", "stage"):
        raise ConfigError(f"{flag}: {name} is one for all stages; give it as --{name}")
    try:
        weight = float(value) if is_given else 1.0
    except ValueError:
        weight = -1.0
    if not 0 < weight < float("inf"):
        raise ConfigError(f"{flag}: the weight of {name} must be a number above 0, not {value!r}")
    return weight, objectives.get(name)
