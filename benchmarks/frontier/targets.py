"""What the frontier promises: ``python -m lilliput.benchmarks.frontier.targets RESULTS --out FILE.json``.

RESULTS holds the folders ``prune``, ``distill``, ``frontier`` and, where they were measured, ``peers`` of the pieces of
the other commands. What a model retains is pooled over the folds, whose test sets are disjoint; its speed is the
median of the ratios of all rounds on all folds. The answer for a share of the teacher's accuracy is the fastest model
that retains it in the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.distillation.family import FAMILY, flags
from lilliput.benchmarks.distillation.targets import pooled as pooled_students
from lilliput.benchmarks.frontier import picture
from lilliput.benchmarks.frontier.speed import NAMES, TEACHER
from lilliput.benchmarks.pruning.family import PACKED, PRUNED
from lilliput.benchmarks.pruning.targets import pooled as pooled_cuts
from lilliput.benchmarks.readme import replaced
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text
from lilliput.statistics import Estimate

LEVELS = {0.99: ("99", 3.0), 0.97: ("97", 6.0), 0.95: ("95", 13.0), 0.935: ("935", 40.0)}
"""Shares of the teacher's accuracy, the name of each in its figure, and how many times faster it is to be."""

SMALL_LEVEL = 0.97
PICTURE = "frontier.svg"
"""Beside the page."""

HEADLINE = "headline"
"""Of `table`, in the README."""

TARGETS = (
    *(pieces.target(f"frontier.speedup_at_{name}", "times", times) for name, times in LEVELS.values()),
    pieces.target("frontier.size_ratio_at_97", "times", 30),
    pieces.target("frontier.peers_slower_at_97", "share", 1.0),
    pieces.target("frontier.target_error_max", "share", 0.05, at_most=True),
    pieces.target("frontier.budget_overrun_min", "minutes", 3, at_most=True),
    pieces.target("frontier.p50_spread", "share", 0.05, at_most=True),
)


@dataclass(frozen=True)
class Point:
    """A model of the frontier's table.

    Attributes:
        retained: share of the teacher's accuracy, over the test texts of ``folds``.
        speedup: over the plainly quantized teacher, in turns with it, on ``timed`` folds; None where not timed.
        size_ratio: the teacher's float32 files over the model's, of what an app opens.
    """

    name: str
    retained: Estimate
    folds: tuple[int, ...]
    speedup: Estimate | None
    timed: tuple[int, ...]
    size_ratio: float
    megabytes: float
    accuracy: float
    ms: float | None


def points(
    cuts: Sequence[Mapping[str, Any]], students: Sequence[Mapping[str, Any]], speeds: Sequence[Mapping[str, Any]]
) -> list[Point]:
    """All models, from the pieces of the folds: pruned ones, distilled ones, and their speeds."""
    if not cuts:
        return []
    of_teacher = sum(piece["teacher"]["bytes"] for piece in cuts) / len(cuts)
    found = {**pooled_cuts(cuts), **pooled_students(students)}
    made = []
    for name in NAMES:
        if name not in found or found[name]["retained"] is None:
            continue
        one, there = found[name], [piece for piece in speeds if name in piece["models"]]
        ratios = [ratio for piece in there for ratio in _ratios(piece["models"], name)]
        median = sorted(piece["models"][name]["p50_ms"] for piece in there)
        made.append(
            Point(
                name=name,
                retained=Estimate(**one["retained"]),
                folds=tuple(one["folds"]),
                speedup=statistics.median_interval(ratios) if ratios else None,
                timed=tuple(piece["fold"] for piece in there),
                size_ratio=of_teacher / one["bytes"],
                megabytes=one["bytes"] / 1e6,
                accuracy=one["accuracy"]["value"],
                ms=median[len(median) // 2] if median else None,
            )
        )
    return made


def points_of(results: Path) -> list[Point]:
    """All models of the pieces that a folder holds."""
    return points(
        _all(results / "prune", "fold-*.json"),
        _all(results / "distill", "fold-*.json"),
        speeds_of(results),
    )


def speeds_of(results: Path) -> list[dict[str, Any]]:
    """The pieces of speeds that a folder holds, by fold."""
    return _all(results / "frontier", "speed-*.json")


def _ratios(models: Mapping[str, Any], name: str) -> list[float]:
    """The teacher's median latency over the model's, round by round."""
    rounds = zip(models[TEACHER]["round_p50_ms"], models[name]["round_p50_ms"], strict=True)
    return [theirs / ours for theirs, ours in rounds]


def figures_of(found: Sequence[Point]) -> list[pieces.Figure]:
    """What accuracies, speeds and sizes decide; none for a share that no model retains."""
    figures = []
    for level, (name, _) in LEVELS.items():
        there = [(one.speedup.value, one) for one in found if one.speedup and one.retained.value >= level]
        if there:
            value, one = max(there, key=lambda pair: pair[0])
            assert one.speedup is not None
            ends = (one.speedup.low, one.speedup.high)
            figures.append(pieces.Figure(f"frontier.speedup_at_{name}", value, "times", ends, None, one.folds))
    if small := [one for one in found if one.retained.value >= SMALL_LEVEL]:
        least = max(small, key=lambda one: one.size_ratio)
        ratio = least.size_ratio
        figures.append(pieces.Figure("frontier.size_ratio_at_97", ratio, "times", None, None, least.folds))
    return figures


def best(found: Sequence[Point]) -> set[str]:
    """Models that no other one beats in accuracy and speed."""
    timed = [one for one in found if one.ms is not None]
    flags_ = statistics.pareto([one.retained.value for one in timed], [one.ms for one in timed])
    return {one.name for one, flag in zip(timed, flags_, strict=True) if flag}


def models_table(found: Sequence[Point], speeds: Sequence[Mapping[str, Any]]) -> str:
    """The models as a Markdown table, the fastest last, and where ``speeds`` come from; a star marks the frontier."""
    lines = [
        "| model | how | accuracy | retained | times faster | ms | MB | times smaller | folds |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    stars = best(found)
    for one in sorted(found, key=lambda one: one.speedup.value if one.speedup else 0.0):
        timed = one.speedup
        cells = (
            one.name + (" ★" if one.name in stars else ""),
            f"`lilliput {_how(one.name)}`",
            f"{one.accuracy:.1%}",
            f"{one.retained.value:.1%} ({one.retained.low:.1%} to {one.retained.high:.1%})",
            f"{timed.value:.1f} ({timed.low:.1f} to {timed.high:.1f})" if timed else "not measured",
            f"{one.ms:.3g}" if one.ms is not None else "not measured",
            f"{one.megabytes:.1f}",
            f"{one.size_ratio:.1f}",
            ", ".join(map(str, one.folds)),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *_sources(speeds)])


def headline(found: Sequence[Point], speeds: Sequence[Mapping[str, Any]]) -> str:
    """The frontier alone, for people in a hurry, and where its ``speeds`` come from."""
    lines = [
        "| model | accuracy | of the teacher's | times faster | ms a text | MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    stars = best(found)
    for one in sorted(found, key=lambda one: one.speedup.value if one.speedup else 0.0):
        if one.name not in stars or one.speedup is None or one.ms is None:
            continue
        retained = f"{one.retained.value:.1%} ({one.retained.low:.1%} to {one.retained.high:.1%})"
        times = f"{one.speedup.value:.1f} ({one.speedup.low:.1f} to {one.speedup.high:.1f})"
        cells = (one.name, f"{one.accuracy:.1%}", retained, times, f"{one.ms:.3g}", f"{one.megabytes:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *_sources(speeds)])


def _sources(speeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """A paragraph for each piece of speeds."""
    return [line for piece in speeds for line in ("", pieces.source(piece))]


def _how(name: str) -> str:
    """The command that makes a model, and its flags; names of other models stand for their folders."""
    if name in PACKED:
        return f"quantize {flags(PACKED[name])}"
    return f"prune {flags(PRUNED[name])}" if name in PRUNED else f"distill {flags(FAMILY[name])}"


def _all(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """The pieces of a folder, by fold."""
    return sorted(map(pieces.read, folder.glob(pattern)), key=lambda piece: piece["fold"])


def main(
    results: Annotated[Path, typer.Argument(help="Folder of the folders of pieces.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose tables and picture are written anew.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Markdown page whose headline table is written anew.")] = None,
) -> None:
    """Pool the folds, choose, merge, judge, and write the tables and the picture of the pages."""
    try:
        own, found, speeds = results / "frontier", points_of(results), speeds_of(results)
        pieces.write(own / "models.json", figures_of(found), models=[asdict(one) for one in found])
        merged = pieces.merge([*sorted(own.glob("*.json")), *(results / "peers").glob("pooled.json")], TARGETS)
        write_json(out, merged)
        if page:
            text = replaced(page.read_text(encoding="utf-8"), "frontier", pieces.table(merged), page)
            write_text(page, replaced(text, "frontier-models", models_table(found, speeds), page))
            write_text(page.with_name(PICTURE), picture.draw(found, best(found)))
        if readme:
            write_text(readme, replaced(readme.read_text(encoding="utf-8"), HEADLINE, headline(found, speeds), readme))
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
