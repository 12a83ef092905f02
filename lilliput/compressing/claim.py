"""What is claimed of the recommended model, in words, with its evidence: from the report, so from the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lilliput import statistics
from lilliput.benchmarks.figures import Report, find
from lilliput.compressing.recommendation import GOOD_ENOUGH, TOLERANCE, Wanted
from lilliput.statistics import Estimate

YES, NO, OPEN = "yes", "no", "inconclusive"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """The figures of a claim; intervals are 95%.

    Attributes:
        speedup: median over the rounds of the benchmark of the teacher's latency over the model's, at one precision.
        lost: points of accuracy: 100 T (1 - r), T the teacher's accuracy in fp32 and r the share that is kept, with r's
            interval of the paired bootstrap.
        retained: r.
        mcnemar_p: could two models of equal accuracy differ this much by chance?
        answers: question -> yes, no or inconclusive; the last one is whether 97% of the teacher are kept.
        asked: how many of the questions, from the first one, are what the user asked.
    """

    speedup: Estimate
    lost: Estimate
    retained: Estimate
    mcnemar_p: float
    ms: float
    bytes: int
    answers: Mapping[str, str]
    asked: int

    @property
    def missed(self) -> list[str]:
        """What was asked for and is answered with no."""
        return [question for question, answer in list(self.answers.items())[: self.asked] if answer == NO]

    def in_words(self, name: str) -> str:
        """One sentence with the figures, then the answers."""
        p = "p < 0.001" if self.mcnemar_p < 0.001 else f"p = {self.mcnemar_p:.3f}"
        fewer = "lost" if self.lost.value >= 0 else "gained"
        low, high = (self.lost.low, self.lost.high) if self.lost.value >= 0 else (-self.lost.high, -self.lost.low)
        said = "; ".join(f"{question}: {answer}" for question, answer in self.answers.items())
        lost = f"{abs(self.lost.value):.1f} points {fewer} (95% interval {low:.1f} to {high:.1f}), McNemar {p}"
        size = f"{self.ms:.3g} ms and {self.bytes / 1e6:.3g} MB"
        return f"{name}: {_times(self.speedup)} faster end to end, {lost}, {size}. {_capital(said)}."


def claim_of(report: Report, name: str, precision: str, wanted: Wanted) -> Claim:
    """The claim about the model ``name`` of a report, whose teacher is called "teacher"."""
    row = _row(report, name, precision)
    teacher, reference = find(report, role="teacher_fp32"), _teacher(report, precision)
    assert teacher is not None  # the report of a search has one
    rounds = zip(reference["round_p50_ms"], row["round_p50_ms"], strict=True)
    speedup = statistics.median_interval([theirs / ours for theirs, ours in rounds])
    kept = Estimate(row["retained"], *row["retained_ci"])
    points = 100 * teacher["score"]
    lost = Estimate(points * (1 - kept.value), points * (1 - kept.high), points * (1 - kept.low))
    ms, size = row["latency_ms"]["p50"], row["bytes"]
    answers = _answers(wanted, speedup, lost, kept, statistics.median_interval(row["round_p50_ms"]), size)
    asked = len(answers) - 1 or 1  # without a wish, 97% are what is looked for
    return Claim(speedup, lost, kept, row["mcnemar_p"], ms, size, answers, asked)


def _answers(
    wanted: Wanted, speedup: Estimate, lost: Estimate, kept: Estimate, ms: Estimate, size: int
) -> dict[str, str]:
    found = {}
    if wanted.speedup is not None:
        question = f"reaches {wanted.speedup:g} times (within {TOLERANCE:.0%})"
        found[question] = at_least(speedup, wanted.speedup * (1 - TOLERANCE))
    if wanted.latency is not None:
        question = f"answers in {wanted.latency:g} ms (within {TOLERANCE:.0%})"
        found[question] = at_most(ms, wanted.latency * (1 + TOLERANCE))
    if wanted.size is not None:
        found[f"is no larger than {wanted.size / 1e6:g} MB"] = YES if size <= wanted.size else NO
    if wanted.max_drop is not None:
        found[f"loses at most {wanted.max_drop:g} points"] = at_most(lost, wanted.max_drop)
    found[f"keeps {GOOD_ENOUGH:.0%} of the teacher"] = at_least(kept, GOOD_ENOUGH)
    return found


def at_most(seen: Estimate, limit: float) -> str:
    """Yes where the value and all of its interval are within a limit, no where the value is not, else inconclusive."""
    if seen.value > limit:
        return NO
    return YES if seen.high <= limit else OPEN


def at_least(seen: Estimate, limit: float) -> str:
    """The same where smaller is worse."""
    return at_most(Estimate(-seen.value, -seen.high, -seen.low), -limit)


def _row(report: Report, name: str, precision: str) -> Row:
    row = find(report, model=name, precision=precision, engine="onnxruntime")
    assert row is not None  # the report was made of these models
    return row


def _teacher(report: Report, precision: str) -> Row:
    """The teacher at the same precision, in the same runtime; where its gate refused that, as plainly exported."""
    same = find(report, model="teacher", precision=precision, engine="onnxruntime")
    other = same or find(report, role="teacher_int8")
    assert other is not None  # every report has the plain export
    return other


def _times(speedup: Estimate) -> str:
    return f"{speedup.value:.2f}x" if speedup.value < 10 else f"{speedup.value:.1f}x"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
