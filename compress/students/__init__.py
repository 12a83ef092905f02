"""What a student looks like, and what it starts from; one file a kind.

A kind is a file with ``KIND``, its name, ``parse(text)``, which reads the options after ``KIND:`` and raises
:class:`ConfigError`, and ``build(teacher, tokenizer, options, seed)``, which returns a model. It may have ``DEFAULTS``,
settings of `DistillConfig` that its training has where the user gives none. ``--student`` is ``KIND[:options]``, or the
options alone of a transformer.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from lilliput.compress.students import transformer
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError


def check(spec: str) -> None:
    """Raise :class:`ConfigError` if ``spec``, the value of ``--student``, is wrong whatever the teacher."""
    _read(spec)


def is_transformer(spec: str) -> bool:
    """Whether the student has the architecture of its teacher."""
    return _read(spec)[0] is transformer


def with_defaults(config: DistillConfig) -> DistillConfig:
    """The configuration with the defaults of its kind of student, ``DEFAULTS``, for what was not given."""
    own = getattr(_read(config.student)[0], "DEFAULTS", {})
    return config.model_copy(update={name: own[name] for name in own if name not in config.model_fields_set})


def build(
    spec: str,
    source: Any,
    tokenizer: Any,
    *,
    initial_layers: tuple[int, ...] | None = None,
    seed: int = 0,
    batches: Iterable[Mapping[str, Tensor]] | None = None,
) -> tuple[Any, tuple[int, ...] | None]:
    """A student as ``spec`` describes it, before training, and the blocks of ``source`` that it starts from.

    Args:
        spec: the value of ``--student``.
        source: the teacher, or a larger student of it; it stays as it is.
        initial_layers: blocks of ``source`` to start from, for a transformer; by default they are evenly spaced.
        seed: for what a kind draws at random. A transformer draws nothing.
        batches: texts on which a transformer is fitted to what ``source`` computes, as inputs of ``source``.

    Returns:
        The student, which shares no weight with ``source``; and its blocks, None for other kinds than transformers.

    Raises:
        ConfigError: ``source`` can't give such a student.
    """
    kind, options = _read(spec)
    if kind is transformer:
        return transformer.build(source, tokenizer, options, seed, initial_layers, batches)
    if initial_layers is not None:
        raise ConfigError(f"--initial-layers: a student of the kind {kind.KIND} has no layers that start from others")
    return kind.build(source, tokenizer, options, seed), None


def _read(spec: str) -> tuple[ModuleType, Any]:
    """The kind that ``spec`` names, and its options."""
    name, _, text = spec.strip().partition(":")
    kinds_there = _kinds()
    if name in kinds_there:
        return kinds_there[name], kinds_there[name].parse(text)
    if name.isidentifier() and name != "layers":
        raise ConfigError(
            f"--student {spec}: unknown kind; give layers=N for a transformer, or {', '.join(kinds_there)}"
        )
    return transformer, transformer.parse(spec.strip())


def _kinds() -> dict[str, ModuleType]:
    """The kinds of students there are, by name."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {module.KIND: module for module in modules if hasattr(module, "KIND")}
