"""What went into a data set and what did not: every row read is either used or rejected for a stated reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

SAMPLES_PER_REASON = 10

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Gives the number of tokens, special ones included, of each text."""


@dataclass(frozen=True)
class Fault:
    """One rejected row: where it is and why it was rejected. Lines count from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Lengths:
    """Percentiles (nearest rank) and the maximum of the lengths of texts."""

    p50: int
    p90: int
    p99: int
    max: int

    @classmethod
    def of(cls, values: Sequence[int]) -> Lengths:
        """The percentiles of ``values``; all 0 where there are none."""
        if not values:
            return cls(0, 0, 0, 0)
        ranked = sorted(values)
        p50, p90, p99 = (ranked[math.ceil(share * len(ranked) / 100) - 1] for share in (50, 90, 99))
        return cls(p50, p90, p99, ranked[-1])


@dataclass(frozen=True)
class SplitFacts:
    """Rows of one split, rows of each label (empty for unlabelled text), and lengths in words and tokens."""

    rows: int
    labels: dict[str, int]
    words: Lengths
    tokens: Lengths | None = None
    above_maximum: int | None = None

    @classmethod
    def of(cls, texts: Sequence[str], labels: Sequence[str]) -> SplitFacts:
        """The facts of a split; ``labels`` is empty for unlabelled text."""
        return cls(len(texts), dict(sorted(Counter(labels).items())), Lengths.of([len(text.split()) for text in texts]))


@dataclass(frozen=True)
class DataReport:
    """``rows_in == rows_used + sum(rows_rejected.values())``, always.

    ``samples`` holds up to ten rejected rows of each reason. ``label_conflicts`` counts rejected duplicates that had
    another label than the row kept. ``overlap`` counts texts that two splits share (normalised), by pair of names.
    """

    rows_in: int
    rows_used: int
    rows_rejected: dict[str, int]
    samples: tuple[Fault, ...]
    splits: dict[str, SplitFacts]
    duplicates_removed: int
    label_conflicts: int
    overlap: dict[str, int]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as values that JSON can hold; token lengths only where they were counted."""
        found = asdict(self)
        found["samples"] = list(found["samples"])
        found["notes"] = list(found["notes"])
        for facts in found["splits"].values():
            for key in ("tokens", "above_maximum"):
                if facts[key] is None:
                    del facts[key]
        return found

    def with_tokens(self, texts: Mapping[str, Sequence[str]], count: CountTokens, max_length: int) -> DataReport:
        """The same report with lengths in tokens of the splits in ``texts``, and how many are above ``max_length``."""
        splits = dict(self.splits)
        for name, some in texts.items():
            lengths = list(count(some))
            above = sum(length > max_length for length in lengths)
            splits[name] = replace(splits[name], tokens=Lengths.of(lengths), above_maximum=above)
        return replace(self, splits=splits)


@dataclass
class Ledger:
    """Counts rows while they are read and checked; a report is made from it at the end."""

    rows_in: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    samples: list[Fault] = field(default_factory=list)
    duplicates: int = 0
    conflicts: int = 0
    notes: list[str] = field(default_factory=list)

    def reject(self, reason: str, file: str, line: int) -> None:
        """Count one row as rejected, and keep it as a sample while there are few."""
        self.rejected[reason] += 1
        if self.rejected[reason] <= SAMPLES_PER_REASON:
            self.samples.append(Fault(file, line, reason))


def render(report: DataReport) -> RenderableType:
    """The report as tables for a terminal."""
    parts: list[RenderableType] = [_summary(report), _split_table(report)]
    if report.rows_rejected:
        parts.append(_rejected_table(report))
    parts += [Text(note, style="dim") for note in report.notes]
    return Group(*parts)


def _summary(report: DataReport) -> Text:
    rejected = sum(report.rows_rejected.values())
    shared = sum(report.overlap.values())
    line = f"{report.rows_in:,} rows in = {report.rows_used:,} used + {rejected:,} rejected. "
    line += f"{report.duplicates_removed:,} duplicates removed, {report.label_conflicts:,} with another label. "
    line += f"Texts shared between splits: {shared:,}"
    pairs = ", ".join(f"{pair}: {count:,}" for pair, count in report.overlap.items() if count)
    return Text(line + (f" ({pairs})." if pairs else "."), style="yellow" if shared else "")


def _split_table(report: DataReport) -> Table:
    table = Table(title="Splits")
    tokens = any(facts.tokens for facts in report.splits.values())
    table.add_column("split")
    table.add_column("rows", justify="right")
    table.add_column("labels")
    table.add_column("words p50/p90/p99/max", justify="right")
    if tokens:
        table.add_column("tokens p50/p90/p99/max", justify="right")
        table.add_column("too long", justify="right")
    for name, facts in report.splits.items():
        row = [name, f"{facts.rows:,}", _balance(facts), _lengths(facts.words)]
        if tokens:
            row += [_lengths(facts.tokens), "" if facts.above_maximum is None else f"{facts.above_maximum:,}"]
        table.add_row(*(Text(cell) for cell in row))  # Text: a label like "[b]" is not markup
    return table


def _balance(facts: SplitFacts) -> str:
    shown = sorted(facts.labels.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{name} {100 * count / facts.rows:.1f}%" for name, count in shown[:6]]
    if len(shown) > 6:
        parts.append(f"and {len(shown) - 6} more")
    return ", ".join(parts) or "unlabelled"


def _lengths(lengths: Lengths | None) -> str:
    return "" if lengths is None else f"{lengths.p50}/{lengths.p90}/{lengths.p99}/{lengths.max}"


def _rejected_table(report: DataReport) -> Table:
    table = Table(title="Rejected rows")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("for example", overflow="fold")
    for reason, count in sorted(report.rows_rejected.items(), key=lambda item: (-item[1], item[0])):
        places = [f"{fault.file}:{fault.line}" for fault in report.samples if fault.reason == reason]
        table.add_row(Text(reason), f"{count:,}", Text(", ".join(places[:3])))
    return table
