"""What is promised of peers: ``python -m lilliput.benchmarks.peers.measure.targets FOLDER --out FILE.json``.

FOLDER holds the pieces ``fold-*.json`` of :mod:`lilliput.benchmarks.peers.measure`. The folds' test sets are
disjoint, so accuracies are pooled over them. Peers are compared with the fastest of our models that retains 97% of
the teacher's accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.peers.measure.making import PLAIN
from lilliput.benchmarks.peers.measure.roster import PEERS
from lilliput.benchmarks.peers.measure.rows import hits_of
from lilliput.benchmarks.readme import replaced
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import write_json, write_text
from lilliput.statistics import Estimate

FIGURE = "frontier.peers_slower_at_97"
RETAINED = 0.97
POOLED = "pooled.json"
TARGETS = (pieces.target(FIGURE, "share", 1.0),)

Piece = Mapping[str, Any]


@dataclass(frozen=True)
class Against:
    """A peer against one of our models, on the folds that have both.

    Attributes:
        ahead: the peer's accuracy less ours on the same texts, in points.
        slower: the peer's median latency over ours, of the rounds.
        mcnemar_p: could both be equally accurate?
    """

    ahead: Estimate
    slower: Estimate
    mcnemar_p: float

    @property
    def no_less_accurate(self) -> bool:
        """The peer is not shown to be less accurate: its interval reaches 0."""
        return self.ahead.high >= 0


def against(folds: Sequence[Piece], peer: str, student: str) -> Against | None:
    """Compare; None where no fold has both."""
    both = [piece for piece in folds if {peer, student} <= piece["models"].keys()]
    if not both:
        return None
    theirs, ours = (_hits(both, name) for name in (peer, student))
    ahead = statistics.difference(theirs, ours)
    ratios = [
        their / our
        for piece in both
        for their, our in zip(*(piece["models"][name]["round_p50_ms"] for name in (peer, student)), strict=True)
    ]
    points = Estimate(100 * ahead.value, 100 * ahead.low, 100 * ahead.high)
    return Against(points, statistics.median_interval(ratios), statistics.mcnemar(theirs, ours))


def student_of(folds: Sequence[Piece]) -> tuple[str, Estimate] | None:
    """The fastest of our models that every fold has and that retains enough, and what it retains."""
    names = [name for name in folds[0]["ours"] if all(name in piece["ours"] for piece in folds)]
    teacher = np.concatenate([hits_of(piece["teacher"], piece["n_test"]) for piece in folds])
    good = {}
    for name in names:
        kept = statistics.retained(_hits(folds, name), teacher)
        if kept is not None and kept.value >= RETAINED:
            good[name] = kept
    if not good:
        return None
    fastest = min(good, key=lambda name: np.mean([piece["models"][name]["latency_ms"]["p50"] for piece in folds]))
    return fastest, good[fastest]


def _hits(folds: Sequence[Piece], name: str) -> NDArray[np.bool_]:
    return np.concatenate([hits_of(piece["models"][name], piece["n_test"]) for piece in folds])


def unbeaten(folds: Sequence[Piece]) -> dict[str, str]:
    """Peers that none of our models equals or beats in accuracy, latency and size together, and what none reaches.

    As accurate is one whose difference on the same texts is not shown to be a loss. A peer whose size is not known is
    compared without it.
    """
    ours, found = folds[0]["ours"], {}
    for peer in PEERS:
        compared = {name: one for name in ours if (one := against(folds, peer.name, name)) is not None}
        accurate = {name: one for name, one in compared.items() if one.ahead.low <= 0}
        fast = [name for name, one in accurate.items() if one.slower.value >= 1]
        limit = next((p["models"][peer.name]["bytes"] for p in folds if peer.name in p["models"]), None)
        if not compared or any(limit is None or _bytes_of(folds, name) <= limit for name in fast):
            continue
        lead = "smaller than those that are as accurate and fast" if fast else "faster than those that are as accurate"
        found[peer.name] = lead if accurate else "more accurate than all"
    return found


def _bytes_of(folds: Sequence[Piece], name: str) -> float:
    return max(piece["models"][name]["bytes"] for piece in folds if name in piece["models"])


def of_unbeaten(found: Mapping[str, str]) -> str:
    """`unbeaten` as a sentence."""
    if not found:
        return (
            "Every peer is equalled or beaten in accuracy, latency and size together by one of our models in this run."
        )
    listed = "; ".join(f"{name} is {lead}" for name, lead in found.items())
    return f"Peers that none of our models in this run equals in accuracy, latency and size together: {listed}."


def figure_of(found: Mapping[str, Against], missing: int, count: int, seeds: Sequence[int]) -> pieces.Figure:
    """The share of the peers that are no less accurate which are slower.

    Its interval: those that are slower by the whole interval of the ratio, as if the missing peers were quick; and
    those that may be slower, as if the missing ones were slow. Where no peer is as accurate there is no figure.
    """
    rivals = [one for one in found.values() if one.no_less_accurate]
    if not rivals:
        return pieces.Figure(FIGURE, None, TARGETS[0].unit, None, count, seeds)
    everyone = len(rivals) + missing
    sure, maybe = sum(one.slower.low > 1 for one in rivals), sum(one.slower.high > 1 for one in rivals)
    value = sum(one.slower.value > 1 for one in rivals) / len(rivals)
    ends = (min(value, sure / everyone), max(value, (maybe + missing) / everyone))
    return pieces.Figure(FIGURE, value, TARGETS[0].unit, ends, count, seeds)


def sentence(student: str, kept: Estimate, found: Mapping[str, Against], failed: Mapping[str, str]) -> str:
    """The claim in words."""
    rivals = {name: one for name, one in found.items() if one.no_less_accurate}
    slower = [name for name, one in rivals.items() if one.slower.low > 1]
    verdict = "yes" if len(slower) == len(rivals) and not failed else "no" if not failed else "not shown"
    if len(slower) == len(rivals):
        rest = ""
    else:
        rest = f" Not slower for certain: {', '.join(sorted(set(rivals) - set(slower)))}."
    lost = f" Not measured: {', '.join(failed)}." if failed else ""
    return (
        f"{student} retains {kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%}) of the teacher's accuracy. Of the "
        f"{len(found)} peers measured, {len(rivals)} are not shown to be less accurate; {len(slower)} of those are "
        f"slower. Is our model faster than all of them: {verdict}.{rest}{lost}"
    )


def table(folds: Sequence[Piece], student: str, found: Mapping[str, Against], failed: Mapping[str, str]) -> str:
    """Our models, the peers and what is missing, as a Markdown table."""
    lines = [
        "| model | with | accuracy | points over ours | p50 ms | ours is faster by | MB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in [*folds[0]["ours"], PLAIN, *(peer.name for peer in PEERS)]:
        there = [piece["models"][name] for piece in folds if name in piece["models"]]
        if not there:
            if name in failed:
                lines.append(f"| {name} | not measured: {_cell(failed[name])} | | | | | |")
            continue
        one = there[-1]
        score = np.concatenate(
            [hits_of(piece["models"][name], piece["n_test"]) for piece in folds if name in piece["models"]]
        )
        accuracy, compared = statistics.accuracy(score), found.get(name) or against(folds, name, student)
        points, faster = "", ""
        if name != student and compared:
            points = "{value:+.1f} ({low:+.1f} to {high:+.1f})".format(**asdict(compared.ahead))
            faster = "{value:.1f} ({low:.1f} to {high:.1f})".format(**asdict(compared.slower))
        versions = ", ".join(f"{package} {version}" for package, version in one["versions"].items())
        cells = (
            f"**{name}**" if name == student else name,
            f"Lilliput, {one['precision']}" if name in folds[0]["ours"] else f"{one['precision']}; {versions}",
            f"{accuracy.value:.2%}",
            points,
            f"{np.mean([each['latency_ms']['p50'] for each in there]):.3f}",
            faster,
            "" if one["bytes"] is None else f"{one['bytes'] / 1e6:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def texts_of(folds: Sequence[Piece]) -> str:
    """How many test texts of each fold were answered and timed, in words."""
    return " ".join(
        f"Accuracies are of {piece['n_test']:,} test texts of fold {piece['fold']}, latencies of {piece['timed']:,} of "
        f"them in {piece['rounds']} rounds."
        for piece in folds
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:160]


def judged(folds: Sequence[Piece]) -> tuple[pieces.Figure, str, str]:
    """The figure, the claim in words, and the table."""
    failed = {name: why for piece in folds for name, why in piece["failed"].items()}
    count, seeds = sum(piece["n_test"] for piece in folds), [piece["fold"] for piece in folds]
    best = student_of(folds)
    if best is None:
        none = f"No model of ours retains {RETAINED:.0%} of the teacher's accuracy on these folds."
        return pieces.Figure(FIGURE, 0.0, TARGETS[0].unit, None, count, seeds), none, table(folds, "", {}, failed)
    student, kept = best
    compared = {peer.name: against(folds, peer.name, student) for peer in PEERS}
    found = {name: one for name, one in compared.items() if one is not None}
    missing = len(set(failed) - set(found))
    figure = figure_of(found, missing, count, seeds)
    claim = f"{sentence(student, kept, found, failed)} {of_unbeaten(unbeaten(folds))}"
    return figure, claim, table(folds, student, found, failed)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the pieces of this package.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figure goes.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose table is written anew.")] = None,
) -> None:
    """Pool the folds, judge the figure, and write the table of the page."""
    try:
        folds = [pieces.read(path) for path in sorted(folder.glob("fold-*.json"))]
        if not folds:
            raise ConfigError(f"{folder}: holds no fold-*.json; run lilliput.benchmarks.peers.measure first")
        figure, claim, rows = judged(folds)
        pieces.write(folder / POOLED, [figure], claim=claim)
        merged = pieces.merge(sorted(folder.glob("*.json")), TARGETS)
        write_json(out, merged)
        if page:
            content = "\n\n".join((rows, texts_of(folds), claim, pieces.table(merged)))
            write_text(page, replaced(page.read_text(encoding="utf-8"), "peers", content, page))
    except (LilliputError, OSError, KeyError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(claim)
    for one in merged["figures"]:
        typer.echo(f"{one['id']}: {one['value']} {one['unit']}, {one['status']}")


if __name__ == "__main__":
    typer.run(main)
