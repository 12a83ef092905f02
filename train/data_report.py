"""What went into a data set and what did not: every row read is either used or rejected for a stated reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lilliput.errors import DataError

SAMPLES_PER_REASON = 10
ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Fault:
    """One rejected row: where it is and why it was rejected. Lines count from 1."""

    file: str
    line: int
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file, as often as it occurs there.

    Attributes:
        line: the first place; None for a fault of the whole file.
        detail: the first place in words.
        severity: "error" makes a data set unusable; "warning" costs rows, or makes figures worth less.
        lines: up to ten places.
    """

    kind: str
    file: str
    line: int | None
    detail: str
    severity: str = WARNING
    count: int = 1
    lines: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.detail}" if self.line else f"{self.file}: {self.detail}"


class Unusable(DataError):
    """A fault of the whole: the data set can't be used before it is mended."""

    def __init__(self, kind: str, file: Any, line: int | None, detail: str, count: int = 1) -> None:
        self.finding = Finding(kind, str(file), line, detail, ERROR, count, (line,) if line else ())
        super().__init__(str(self.finding))


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
    def of(cls, texts: Iterable[str], labels: Iterable[str]) -> SplitFacts:
        """The facts of a split; ``labels`` is empty for unlabelled text."""
        words = [len(text.split()) for text in texts]
        return cls(len(words), dict(sorted(Counter(labels).items())), Lengths.of(words))


@dataclass(frozen=True)
class DataReport:
    """``rows_in == rows_used + sum(rows_rejected.values())``, always.

    ``samples`` holds up to ten rejected rows of each reason and file. ``label_conflicts`` counts rejected duplicates
    that had another label than the row kept. ``overlap`` counts texts that two splits share (normalised), by pair of
    names. ``findings`` are what a user should look at: nothing, where the data are clean.
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
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> list[Finding]:
        """The findings that make the data set unusable."""
        return [finding for finding in self.findings if finding.severity == ERROR]

    def to_dict(self) -> dict[str, Any]:
        """The report as values that JSON can hold; token lengths only where they were counted."""
        found = asdict(self)
        found["samples"] = list(found["samples"])
        found["notes"] = list(found["notes"])
        found["findings"] = [finding | {"lines": list(finding["lines"])} for finding in found["findings"]]
        for facts in found["splits"].values():
            for key in ("tokens", "above_maximum"):
                if facts[key] is None:
                    del facts[key]
        return found

    def with_tokens(self, lengths: Mapping[str, Sequence[int]], max_length: int) -> DataReport:
        """The same report with the lengths in tokens of the inputs of splits, and how many are above ``max_length``."""
        splits = dict(self.splits)
        for name, some in lengths.items():
            above = sum(length > max_length for length in some)
            splits[name] = replace(splits[name], tokens=Lengths.of(some), above_maximum=above)
        return replace(self, splits=splits)


@dataclass
class Ledger:
    """Counts rows while they are read and checked; a report is made from it at the end.

    Attributes:
        lenient: faults of the whole are kept for the report, where else the first one is raised.
        columns: the columns that were read of each file, by role.
    """

    lenient: bool = False
    rows_in: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    samples: list[Fault] = field(default_factory=list)
    duplicates: int = 0
    conflicts: int = 0
    notes: list[str] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    _errors: list[Finding] = field(default_factory=list)
    _faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    _harmless: set[str] = field(default_factory=set)

    def reject(self, reason: str, file: str, line: int, detail: str = "", *, harmless: bool = False) -> None:
        """Count one row as rejected, and keep it as a sample while there are few; what is harmless is no finding."""
        self.rejected[reason] += 1
        self._faults[reason, file] += 1
        if self._faults[reason, file] <= SAMPLES_PER_REASON:
            self.samples.append(Fault(file, line, reason, detail))
        if harmless:
            self._harmless.add(reason)

    def refuse(self, error: Unusable) -> None:
        """Raise ``error``, or keep it where all faults are wanted."""
        if not self.lenient:
            raise error
        self._errors.append(error.finding)

    def blames(self, file: Any) -> bool:
        """Whether this file was refused already; what follows from that is no news."""
        return any(finding.file == str(file) for finding in self._errors)

    def findings(self) -> tuple[Finding, ...]:
        """What was refused, then the rejected rows, by reason and file."""
        found = list(self._errors)
        for (reason, file), count in self._faults.items():
            if reason in self._harmless:
                continue
            places = [fault for fault in self.samples if (fault.reason, fault.file) == (reason, file)]
            places.sort(key=lambda fault: fault.line)
            lines = tuple(fault.line for fault in places)
            found.append(Finding(reason, file, lines[0], places[0].detail or reason, WARNING, count, lines))
        return tuple(found)


def render(report: DataReport) -> RenderableType:
    """The report as tables for a terminal; its findings are for :func:`render_findings`."""
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
    total = sum(facts.labels.values())
    parts = [f"{name} {100 * count / total:.1f}%" for name, count in shown[:6]]
    if len(shown) > 6:
        parts.append(f"and {len(shown) - 6} more")
    return ", ".join(parts)


def _lengths(lengths: Lengths | None) -> str:
    return "" if lengths is None else f"{lengths.p50}/{lengths.p90}/{lengths.p99}/{lengths.max}"


def _rejected_table(report: DataReport) -> Table:
    table = Table(title="Rejected rows")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    for reason, count in sorted(report.rows_rejected.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(reason), f"{count:,}")
    return table


def render_findings(report: DataReport) -> RenderableType:
    """A line for each finding, errors first."""
    lines = [Text(), Text("Findings", style="bold")] if report.findings else []
    for finding in sorted(report.findings, key=lambda one: (one.severity != ERROR, one.file, one.line or 0)):
        detail = finding.detail if finding.kind in finding.detail else f"{finding.kind}: {finding.detail}"
        line = Text(f"{finding.file}:{finding.line}: " if finding.line else f"{finding.file}: ")
        line.append(finding.severity, style="bold red" if finding.severity == ERROR else "yellow")
        line.append(f": {detail}")
        if finding.count > 1 and len(finding.lines) > 1:
            more = ", …" if finding.count > len(finding.lines) else ""
            line.append(f" ({finding.count:,} rows: {', '.join(map(str, finding.lines))}{more})")
        elif finding.count > 1:
            line.append(f" ({finding.count:,} rows)")
        lines.append(line)
    return Group(*lines)
