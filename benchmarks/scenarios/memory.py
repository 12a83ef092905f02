"""Memory: what a process holds resident when its model is loaded, and at most while it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilliput.benchmarks.bench import Bench, Found, Runners
from lilliput.benchmarks.table import NOT_MEASURED, Column

ABOUT = (
    "A fresh process a model: resident memory when the model is loaded, and the most that it ever was, after the "
    "longest texts one by one and after a list of them. 10⁶ bytes, Python and libraries included."
)
LONGEST = 64
"""Texts that are answered, the longest ones."""


def _megabytes(key: str) -> Any:
    return lambda one: NOT_MEASURED if one[key] is None else f"{one[key] / 1e6:,.0f}"


COLUMNS = (
    Column("loaded, MB", "resident once the model is loaded", _megabytes("loaded_bytes")),
    Column("peak, MB", "most resident, with single texts", _megabytes("single_bytes")),
    Column("peak with a list, MB", "most resident, with the list call too", _megabytes("list_bytes")),
)


def measure(bench: Bench) -> Found:
    """Bytes of every model's process."""
    texts = sorted(bench.texts, key=len)[-LONGEST:]
    with bench.runners("memory") as runners:
        models = {}
        for name in runners.names:
            bench.tell(f"{name}: memory")
            found = _of_one(runners, name, texts)
            if found:
                models[name] = found
        return Found(runners.found(models), {"threads": bench.threads, "texts": len(texts)})


def _of_one(runners: Runners, name: str, texts: list[str]) -> Mapping[str, Any] | None:
    loaded = runners.ask(name, "memory")
    runners.ask(name, "one", texts=texts)
    single = runners.ask(name, "peak")
    runners.ask(name, "batch", texts=texts)
    listed = runners.ask(name, "peak")
    if not (loaded and single and listed):
        return None
    return {
        "loaded_bytes": loaded["rss_bytes"],
        "single_bytes": single["peak_bytes"],
        "list_bytes": listed["peak_bytes"],
    }
