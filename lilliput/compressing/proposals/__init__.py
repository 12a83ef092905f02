"""What a candidate can be; one file a kind, which is found by being here.

A kind is a file with

    KIND                                  its name
    TRAINED_FIRST                         True where rung 0 has no score: an untrained model says nothing
    grid(seen, wanted, known)             settings to begin with, the most promising first
    space(seen, wanted, known)            name -> what the sampler may choose for it
    chains(seen, wanted, known, done)     (trial, settings) of models that go on from finished ones
    predicted(settings, seen)             speedup, as far as the table of latencies tells; else None
    begin(bench, settings)                the stage with the model before training
    train(bench, settings, begun, name)   the stage with the trained one; ``bench.recipe`` says how long
    commands(bench, settings, place)      command lines that make it again, below ``place``, and where it is then

where ``seen`` is a `Situation`, ``wanted`` a `Wanted`, ``known`` a `Plan`, and ``bench`` a `Bench`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from lilliput.errors import ConfigError

STEPS = (1.5, 2.0, 3.0, 4.5, 7.0, 10.0, 15.0, 22.0)
"""Speedups that are tried where none was asked for."""


@functools.cache
def kinds() -> dict[str, ModuleType]:
    """The kinds there are, by name."""
    found = [importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)]
    return {module.KIND: module for module in found if hasattr(module, "KIND")}


def get(name: str) -> ModuleType:
    """A kind by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in kinds():
        raise ConfigError(f"no kind of candidate is called {name!r}; known are {', '.join(kinds())}")
    return kinds()[name]
