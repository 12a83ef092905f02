"""Energy: what the processor's counters (RAPL) say that a thousand texts cost.

Reference:
    Khan et al. 2018, "RAPL in Action: Experiences in Using RAPL for Power Measurements".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lilliput import timing
from lilliput.benchmarks.bench import Bench, Found
from lilliput.benchmarks.table import Column

ABOUT = (
    "RAPL's counters of all processor packages before and after a list of single texts: the whole machine's, so what "
    "else runs is in it. Net is without what it takes while nothing is asked, measured before each round."
)
POWERCAP = Path("/sys/class/powercap")
ROUNDS, SECONDS, IDLE_S = 3, 2.0, 1.0

COLUMNS = (
    Column("J per 1,000 texts", "of all packages", lambda one: f"{one['joules_per_1000']:.3g}"),
    Column("net", "without the idle machine's", lambda one: f"{one['net_joules_per_1000']:.3g}"),
    Column("W", "mean power while it answers", lambda one: f"{one['watts']:.3g}"),
)


@dataclass(frozen=True)
class Counter:
    """A package's counter of microjoules, which begins anew after ``range_uj``."""

    path: Path
    range_uj: int

    def read(self) -> int:
        """Microjoules so far."""
        return int((self.path / "energy_uj").read_text(encoding="ascii"))

    def between(self, before: int, after: int) -> float:
        """Joules from one reading to a later one, through at most one new beginning."""
        return ((after - before) % (self.range_uj + 1)) / 1e6


class Unreadable(Exception):
    """Why there are no counters."""


def counters(folder: Path = POWERCAP) -> list[Counter]:
    """The counters of all packages (not those of their parts, which are in them).

    Raises:
        Unreadable: there are none, or they can't be read.
    """
    zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    found = []
    for zone in zones:
        try:
            if (zone / "name").read_text(encoding="ascii").startswith("package"):
                counter = Counter(zone, int((zone / "max_energy_range_uj").read_text(encoding="ascii")))
                counter.read()
                found.append(counter)
        except PermissionError:
            raise Unreadable(f"{zone}/energy_uj is for root only; run as root, or let users read it") from None
        except (OSError, ValueError) as error:
            raise Unreadable(f"{zone}: {error}") from None
    if not found:
        raise Unreadable(f"there are no RAPL counters in {folder} (virtual machines and other processors hide them)")
    return found


def measure(bench: Bench) -> Found:
    """Joules of every model; why not, where there are no counters."""
    try:
        found = counters()
    except Unreadable as why:
        return Found({entry.name: {"not_measured": str(why)} for entry in bench.entries})
    models: dict[str, list[Mapping[str, float]]] = {entry.name: [] for entry in bench.entries}
    with bench.runners("energy") as runners:
        for number in range(ROUNDS):
            idle = _watts(found, lambda: time.sleep(IDLE_S))
            for name in runners.turns(number):
                bench.tell(f"{name}: energy, round {number + 1} of {ROUNDS}")
                count = max(16, int(SECONDS * timing.NS_PER_S / bench.expected_ns(name)))
                texts = [bench.texts[index % len(bench.texts)] for index in range(count)]
                before, start = [counter.read() for counter in found], timing.clock()
                runners.ask(name, "one", texts=texts)
                seconds = (timing.clock() - start) / timing.NS_PER_S
                joules = _joules(found, before)
                models[name].append({"joules": joules, "seconds": seconds, "texts": count, "idle": idle * seconds})
        return Found(runners.found({name: _entry(models[name]) for name in runners.names}), {"idle_s": IDLE_S})


def _entry(rounds: list[Mapping[str, float]]) -> dict[str, Any]:
    each = [1000 * one["joules"] / one["texts"] for one in rounds]
    net = [1000 * max(0.0, one["joules"] - one["idle"]) / one["texts"] for one in rounds]
    return {
        "joules_per_1000": float(np.median(each)),
        "net_joules_per_1000": float(np.median(net)),
        "watts": float(np.median([one["joules"] / one["seconds"] for one in rounds])),
        "rounds": each,
    }


def _joules(found: list[Counter], before: list[int]) -> float:
    return sum(counter.between(first, counter.read()) for counter, first in zip(found, before, strict=True))


def _watts(found: list[Counter], wait: Any) -> float:
    before, start = [counter.read() for counter in found], timing.clock()
    wait()
    return _joules(found, before) / ((timing.clock() - start) / timing.NS_PER_S)
