"""Two reports side by side: which models became worse, by how much, and how sure that is.

Rows are matched by name; what two calls of ``lilliput compress`` recommend is compared as well, whatever its name. A
difference is a regression where its whole 95% interval lies beyond what is allowed, and inconclusive where it is for
sure one, and its value beyond what is allowed, but not all of its interval. Where the interval holds no difference at
all, no change is shown.

- Accuracy is compared text by text where both reports know every hit and answered the same texts (paired bootstrap,
  McNemar); on equally many texts of the same data otherwise as two independent shares (Newcombe 1998, method 10).
- Latency is compared on one machine, with one engine, on the same texts only. The interval is a bootstrap over the
  rounds of both runs. A noisy run may be slower by its own spread.
- Size is counted in bytes and has no interval.

Reference:
    Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lilliput import statistics
from lilliput.benchmarks import evidence, ratios, table
from lilliput.errors import LilliputError
from lilliput.statistics import Estimate

REGRESSION, IMPROVEMENT, SAME, OPEN, APART = (
    "regression",
    "improvement",
    "no change shown",
    "inconclusive",
    "not comparable",
)
RECOMMENDED = "recommended"
"""Name under which the models that two reports recommend are compared."""
MACHINE = {"cpu": "processor", "architecture": "architecture", "cores": "number of cores"}
"""Facts that must be equal for latencies to be comparable."""

Report = Mapping[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """What is allowed, as shares: accuracy lost (0.01 is a point), p50 slower, files larger."""

    lost: float = 0.0
    slower: float = 0.05
    larger: float = 0.01


def compare(old: Report, new: Report, limits: Limits | None = None) -> dict[str, Any]:
    """What changed from one report to the next.

    Returns:
        ``models``: of each name that both have, ``accuracy``, ``latency`` and ``size``, each with a ``verdict`` and,
        where there is one, the ``why`` of it; ``gone`` and ``added``: names that only one has; ``regressions``: pairs
        of name and figure; ``notes``; ``limits``.

    Raises:
        LilliputError: a report has two rows of one name, or hits that are not those of its texts, or the two have no
            model in common.
    """
    limits = limits or Limits()
    before, after = _by_name(old, "old"), _by_name(new, "new")
    advised = [str(one.get("recommended") or "") for one in (old, new)]
    if all(advised) and advised[0] != advised[1]:  # names that hold a measured speed differ from call to call
        before[RECOMMENDED], after[RECOMMENDED] = before[advised[0]], after[advised[1]]
    if not before.keys() & after.keys():
        named = [", ".join(list(one)[:4]) for one in (before, after)]
        raise LilliputError(f"no model is in both reports: {named[0]} in the old one, {named[1]} in the new one")
    places = _Places(old, new)
    models = {
        name: {
            "accuracy": _accuracy(before[name], row, places, limits),
            "latency": _latency(before[name], row, places, limits),
            "size": _size(before[name], row, limits),
        }
        for name, row in after.items()
        if name in before
    }
    return {
        "old": {key: old[key] for key in ("title", "generated", "commit")},
        "new": {key: new[key] for key in ("title", "generated", "commit")},
        "limits": asdict(limits),
        "models": models,
        "gone": [name for name in before if name not in after],
        "added": [name for name in after if name not in before],
        "regressions": [[n, key] for n, one in models.items() for key in one if one[key]["verdict"] == REGRESSION],
        "notes": _notes(old, new, models),
    }


class _Places:
    """What two reports have in common."""

    def __init__(self, old: Report, new: Report) -> None:
        self.old, self.new = old, new
        data = old["data"], new["data"]
        self.n = (data[0]["n_test"], data[1]["n_test"])
        digests = [one.get("texts_sha256") for one in data]
        self.same_data = data[0]["fingerprint"] == data[1]["fingerprint"] and self.n[0] == self.n[1]
        self.same_texts = self.same_data and digests[0] == digests[1]
        self.paired = self.same_texts and digests[0] is not None

    @property
    def other_machine(self) -> str | None:
        """In what machine and threads differ; None where they don't."""
        one, other = self.old["machine"], self.new["machine"]
        for key, words in MACHINE.items():
            if one[key] != other[key]:
                return f"another {words} ({one[key]}, then {other[key]})"
        if self.old["threads"] != self.new["threads"]:
            return f"another number of threads ({self.old['threads']}, then {self.new['threads']})"
        return None

    @property
    def noise(self) -> float:
        """By how much the medians of a noisy run moved by themselves; 0 where both were quiet."""
        return max(
            (one["machine"]["p50_spread"] for one in (self.old, self.new) if one["machine"]["noisy"]), default=0.0
        )


def _accuracy(old: Row, new: Row, places: _Places, limits: Limits) -> dict[str, Any]:
    known = {"old": old["score"], "new": new["score"]}
    if not places.same_data:
        return {**known, "verdict": APART, "why": "the reports are about other test texts"}
    if old["score"] is None or new["score"] is None or old["metric"] != new["metric"]:
        return {**known, "verdict": APART, "why": "one of them has no such score"}
    if places.paired and "hits" in old and "hits" in new:
        hits = [_hits(row, count) for row, count in zip((new, old), places.n[::-1], strict=True)]
        found, p = statistics.difference(hits[0], hits[1]), statistics.mcnemar(hits[0], hits[1])
        how: dict[str, Any] = {"paired": True, "mcnemar_p": p}
    else:
        found = unpaired(new["score"], places.n[1], old["score"], places.n[0])
        how = {"paired": False, "mcnemar_p": None}
    worse = Estimate(-found.value, -found.high, -found.low)
    return {
        **known,
        "difference": found.value,
        "ci": [found.low, found.high],
        **how,
        "verdict": _verdict(worse, limits.lost),
    }


def _latency(old: Row, new: Row, places: _Places, limits: Limits) -> dict[str, Any]:
    known = {"old": old["latency_ms"]["p50"], "new": new["latency_ms"]["p50"]}
    why = places.other_machine
    if why is None and not places.same_texts:
        why = "the reports are about other test texts"
    for key, words in (("engine", "engine"), ("provider", "provider"), ("precision", "precision")):
        if why is None and old[key] != new[key]:
            why = f"another {words} ({old[key]}, then {new[key]})"
    if why is not None:
        return {**known, "verdict": APART, "why": why}
    found = ratios.of_medians(new["round_p50_ms"], old["round_p50_ms"])
    slower = Estimate(found.value - 1, found.low - 1, found.high - 1)
    allowed = max(limits.slower, places.noise)
    noisy = {"why": f"a run was noisy: {table.percent(allowed)} are allowed"} if allowed > limits.slower else {}
    verdict = _verdict(slower, allowed)
    return {**known, "ratio": found.value, "ci": [found.low, found.high], "verdict": verdict, **noisy}


def _size(old: Row, new: Row, limits: Limits) -> dict[str, Any]:
    known = {"old": old["bytes"], "new": new["bytes"]}
    if not old["bytes"] or new["bytes"] is None:
        return {**known, "verdict": APART, "why": "one of them has no files"}
    ratio = new["bytes"] / old["bytes"]
    return {**known, "ratio": ratio, "verdict": _verdict(Estimate(ratio - 1, ratio - 1, ratio - 1), limits.larger)}


def _verdict(worse: Estimate, allowed: float) -> str:
    """Of how much worse something became, with its interval."""
    if worse.low > allowed:
        return REGRESSION
    if worse.value > allowed and worse.low > 0:
        return OPEN
    # Better by more than would be excused the other way.
    return IMPROVEMENT if worse.high < -allowed else SAME


def unpaired(new: float, new_count: int, old: float, old_count: int) -> Estimate:
    """``new - old`` of two shares of independent samples, with Newcombe's hybrid score interval.

    With Wilson's limits (l, u) of each, the interval is from
    d - sqrt((p_new - l_new)^2 + (u_old - p_old)^2) to d + sqrt((u_new - p_new)^2 + (p_old - l_old)^2).
    """
    first, second = (
        statistics.accuracy(np.arange(count) < round(share * count))
        for share, count in ((new, new_count), (old, old_count))
    )
    difference = new - old
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(difference, difference - down, difference + up)


def _hits(row: Row, count: int) -> Any:
    try:
        return evidence.unpacked(row["hits"], count)
    except ValueError as error:
        raise LilliputError(f"the hits of {row['name']!r} are damaged: {error}") from None


def _by_name(report: Report, which: str) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in report["models"]:
        if row["name"] in found:
            raise LilliputError(f"the {which} report has two models called {row['name']!r}")
        found[row["name"]] = row
    return found


def _notes(old: Report, new: Report, models: Mapping[str, Any]) -> list[str]:
    """What a reader should know before believing any of it."""
    notes = []
    if not models:
        notes.append("The reports have no model of the same name.")
    for which, one in (("old", old), ("new", new)):
        if one["smoke"]:
            notes.append(f"The {which} report is a smoke run: its figures count for nothing.")
        if one["machine"]["noisy"]:
            spread = table.percent(one["machine"]["p50_spread"])
            notes.append(f"The machine was noisy in the {which} run: medians moved by {spread} between rounds.")
    versions = old["machine"]["versions"], new["machine"]["versions"]
    for name in sorted(set(versions[0]) & set(versions[1])):
        if versions[0][name] != versions[1][name]:
            notes.append(f"{name} {versions[0][name]} became {versions[1][name]}.")
    return notes


def markdown(found: Mapping[str, Any]) -> str:
    """The comparison for people: verdict, a table, and what to know."""
    count = len(found["regressions"])
    said = f"**{count} regression{'s' if count != 1 else ''}**" if count else "**No regression**"
    listed = "".join(f"\n- {table.escaped(name)}: {key}" for name, key in found["regressions"])
    rows = [
        [name, _accuracy_said(one["accuracy"]), _latency_said(one["latency"]), _size_said(one["size"])]
        for name, one in found["models"].items()
    ]
    parts = [f"{said}, {found['old']['generated']} against {found['new']['generated']}. Intervals are 95%.{listed}"]
    if rows:
        parts.append(table.grid(["model", "accuracy", "p50", "size"], [False] * 4, rows))
    for words, names in (("Only in the old report", found["gone"]), ("Only in the new report", found["added"])):
        if names:
            parts.append(f"{words}: {', '.join(map(table.escaped, names))}.")
    parts += [table.escaped(note) for note in found["notes"]]
    return "\n\n".join(parts) + "\n"


def _accuracy_said(one: Mapping[str, Any]) -> str:
    if one["verdict"] == APART:
        return _apart(one)
    low, high = (100 * end for end in one["ci"])
    how = f"McNemar p = {one['mcnemar_p']:.3f}" if one["paired"] else "not paired"
    points = f"{100 * one['difference']:+.2f} points ({low:+.2f} to {high:+.2f}, {how})"
    return f"{table.percent(one['old'])} → {table.percent(one['new'])}, {points}: {_loud(one['verdict'])}"


def _latency_said(one: Mapping[str, Any]) -> str:
    if one["verdict"] == APART:
        return _apart(one)
    low, high = one["ci"]
    change = f"×{one['ratio']:.3f} ({low:.3f} to {high:.3f})"
    why = f"; {one['why']}" if "why" in one else ""
    spans = f"{table.milliseconds(one['old'])} → {table.milliseconds(one['new'])} ms"
    return f"{spans}, {change}: {_loud(one['verdict'])}{why}"


def _size_said(one: Mapping[str, Any]) -> str:
    if one["verdict"] == APART:
        return _apart(one)
    spans = f"{table.megabytes(one['old'])} → {table.megabytes(one['new'])} MB"
    return f"{spans}, ×{one['ratio']:.3f}: {_loud(one['verdict'])}"


def _apart(one: Mapping[str, Any]) -> str:
    return f"{APART}: {one['why']}"


def _loud(verdict: str) -> str:
    return f"**{verdict}**" if verdict == REGRESSION else verdict


__all__: Sequence[str] = ("Limits", "compare", "markdown", "unpaired")
