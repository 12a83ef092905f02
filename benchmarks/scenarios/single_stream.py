"""SingleStream: one text after the other; the latencies that 50, 90 and 99 of 100 texts stay below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilliput.benchmarks import ratios
from lilliput.benchmarks.bench import Bench, Found
from lilliput.benchmarks.table import Column, milliseconds, percent, whole
from lilliput.timing import NS_PER_MS

ABOUT = (
    "One text after the other, from the string to the label, on every test text; models take turns in rounds. "
    "Intervals lie between two order statistics."
)
LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def _quantile(key: str) -> Column:
    return Column(f"{key} ms", f"{key[1:]} of 100 texts are faster, 95% interval", lambda one: _with_interval(one, key))


def _with_interval(one: Mapping[str, Any], key: str) -> str:
    low, high = one[f"{key}_ci"]
    return f"{milliseconds(one[key])} ({milliseconds(low)} to {milliseconds(high)})"


COLUMNS = (
    *(_quantile(key) for key in LEVELS),
    Column("texts", "single texts timed", lambda one: whole(one["n"])),
    Column("spread", "(max - min) / median of p50 over the rounds", lambda one: percent(one["p50_spread"])),
)


def measure(bench: Bench) -> Found:
    """The quantiles of the run that every benchmark begins with, with intervals."""
    models = {}
    for entry in bench.entries:
        seen = bench.result.models[entry.name]
        elapsed = (seen.elapsed_ns / NS_PER_MS).tolist()
        one: dict[str, Any] = {"n": len(elapsed), "p50_spread": seen.p50_spread}
        for key, level in LEVELS.items():
            found = ratios.of_quantile(elapsed, level)
            one |= {key: found.value, f"{key}_ci": [found.low, found.high]}
        models[entry.name] = one
    return Found(models, {"threads": bench.threads})
