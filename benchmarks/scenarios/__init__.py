"""What a benchmark can ask of its models: one file a scenario, found by its file name, as in MLPerf Inference.

A scenario's file has

- ``ABOUT``: how it is measured, in a sentence or two;
- ``COLUMNS``: what its table shows (see `lilliput.benchmarks.table.Column`; texts are made of a model's entry);
- ``measure(bench)``: the entry of each model by name, as JSON has it, and the settings; one that could not be measured
  has ``{"not_measured": why}`` for an entry.

Adding a scenario is adding a file.

References:
    Reddi et al. 2020, "MLPerf Inference Benchmark" (SingleStream, Server, Offline).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from lilliput.benchmarks.bench import Bench, Found
from lilliput.benchmarks.table import Column
from lilliput.errors import ConfigError


class Scenario(Protocol):
    """A scenario's module."""

    ABOUT: str
    COLUMNS: Sequence[Column]

    def measure(self, bench: Bench) -> Found:
        """Measure every model."""
        ...


def names() -> list[str]:
    """The scenarios there are, as ``--scenario`` takes them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def get(name: str) -> Scenario:
    """A scenario.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in names():
        raise ConfigError(f"--scenario {name}: unknown; known are {', '.join(names())}")
    return cast(Scenario, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


@dataclass(frozen=True)
class Table:
    """A scenario's results as rows of text, the models in the order of the report."""

    name: str
    about: str
    settings: Mapping[str, Any]
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Mapping[str, Any]]]

    @property
    def title(self) -> str:
        """The name as a heading."""
        return self.name[:1].upper() + self.name[1:].replace("-", " ")

    @property
    def why(self) -> str | None:
        """Why nothing was measured of any model, where it is the same reason for all."""
        reasons = {entry.get("not_measured") for _, entry in self.rows}
        return next(iter(reasons)) if len(reasons) == 1 else None


def tables(report: Mapping[str, Any]) -> list[Table]:
    """The tables of the scenarios that a report holds; those that this version does not know are left out."""
    found = []
    for name, measured in (report.get("scenarios") or {}).items():
        if name in names():
            scenario, models = get(name), measured["models"]
            rows = [(row["name"], models[row["name"]]) for row in report["models"] if row["name"] in models]
            found.append(Table(name, scenario.ABOUT, measured["settings"], scenario.COLUMNS, rows))
    return found
