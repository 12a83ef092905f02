"""Measure the peers: ``python -m lilliput.benchmarks.peers.measure --fold 0 --ours x4=BUNDLE:int8 --out FILE.json``.

Peers, each in its own environment, and bundles of ours answer every test text of a fold of the embedded data, off the
clock. Then they answer some of the texts on the clock, in fresh processes, one at a time on one thread, tokenizer
inside, and in turns. A peer that can't be had is in the piece with the reason.

``--prepare`` stops before the clock: a quiet machine is needed for no more than the timed part. Everything that is made
lies in a run folder and is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import machine, models
from lilliput.benchmarks import entries, latency, pieces
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.machine import PACKAGES
from lilliput.benchmarks.peers.measure import environments, making, rows
from lilliput.benchmarks.peers.measure.answering import Answers, answers_of
from lilliput.benchmarks.peers.measure.making import PLAIN, TEACHER, Source
from lilliput.benchmarks.peers.measure.roster import PEERS, Outside
from lilliput.bundle import Bundle
from lilliput.config import DataConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run
from lilliput.train import sources
from lilliput.train.data import Dataset
from lilliput.train.sentiment import FOLDS
from lilliput.types import ONNX_FILES

TIMED = 600
UNCHANGED = "hf-pipeline"
"""The peer that is the teacher itself, in fp32: accuracies are retained of its."""


@dataclass(frozen=True)
class Ours:
    """A bundle of ours under a name, in a precision."""

    name: str
    bundle: Path
    precision: str

    @classmethod
    def read(cls, value: str, fold: int) -> Ours:
        """From ``NAME=BUNDLE[:PRECISION]``; int8 where the bundle ships it, else fp32.

        Raises:
            ConfigError: it is no such value, there is no such precision, or the bundle was trained on another fold.
            BundleError: there is no bundle.
        """
        name, equals, where = value.partition("=")
        folder, colon, precision = where.rpartition(":")
        if not colon or precision not in ONNX_FILES:
            folder, precision = where, ""
        if not (name and equals and folder):
            raise ConfigError(f"--ours {value}: expected NAME=BUNDLE or NAME=BUNDLE:PRECISION")
        manifest = Bundle.open(Path(folder)).manifest
        data = manifest.provenance.get("data") or {}
        if data.get("name") != f"sentiment-fold{fold}":
            raise ConfigError(f"--ours {value}: made from {data.get('name')}, but --fold is {fold}")
        shipped = precision or ("int8" if "int8" in manifest.graphs else "fp32")
        if shipped not in manifest.graphs:
            raise ConfigError(f"--ours {value}: ships {', '.join(manifest.graphs)}")
        return cls(name, Path(folder).absolute(), shipped)


@dataclass
class Candidates:
    """What is measured: entries by name, what they are, the packages around them; and why peers are missing."""

    entries: dict[str, Entry] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def gather(run: Run, source: Source, ours: Sequence[Ours], peers: Sequence[Outside], fold: int) -> Candidates:
    """Make what is not there yet; a peer that can't be had goes to ``failed``."""
    found, here = (
        Candidates(),
        {name.lower(): version for name, version in machine.versions(PACKAGES).items() if version},
    )

    def add(name: str, entry: Entry, about: str, versions: dict[str, str], key: Any) -> None:
        found.entries[name], found.about[name], found.versions[name] = entry, about, versions
        found.keys[name] = key

    for one in ours:
        entry = entries.of_bundle(one.bundle, one.name, one.precision, seeds=(fold,))
        add(one.name, entry, "a bundle of Lilliput", here, models.fingerprint(one.bundle))
    add(PLAIN, making.plain(run, source, (fold,)), "the teacher by the libraries' defaults", here, source.identity)
    for peer in peers:
        typer.echo(f"{peer.name}: {peer.about}")
        try:
            entry = making.entry_of(run, peer, source, (fold,))
        except LilliputError as error:
            found.failed[peer.name] = str(error)
            typer.echo(f"{peer.name}: not measured: {error}", err=True)
            continue
        key = [source.identity, environments.requirements_of(peer.requirements)]
        add(peer.name, entry, peer.about, environments.versions_of(peer.requirements), key)
    return found


def answer(run: Run, found: Candidates, ours: Sequence[Ours], dataset: Dataset) -> None:
    """The answers of all to the test texts; a peer that fails now goes to ``failed`` too."""
    needed = {PLAIN, *(one.name for one in ours)}
    for name, entry in list(found.entries.items()):
        try:
            found.answers[name] = answers_of(run, entry, found.keys[name], dataset.test.texts, dataset.label_names)
        except LilliputError as error:
            if name in needed:
                raise
            found.failed[name] = str(error)
            del found.entries[name]
            typer.echo(f"{name}: not measured: {error}", err=True)


def measure(run: Run, found: Candidates, dataset: Dataset, timed: int, rounds: int) -> dict[str, Any]:
    """Time all in turns on about ``timed`` texts of like lengths as the whole; the rows, and how quiet it was."""
    texts, golds = dataset.test.texts, dataset.test.labels
    indices = sorted(latency.deal(texts, max(1, round(len(texts) / timed)))[0])
    some = [texts[index] for index in indices]
    result = latency.run(
        list(found.entries.values()), some, threads=1, rounds=rounds, folder=run.folder / "timing", all_cores=False
    )
    made = {
        name: rows.row(
            entry,
            found.answers[name],
            golds,
            result.models[entry.name],
            indices,
            found.about[name],
            found.versions[name],
        )
        for name, entry in found.entries.items()
    }
    return {
        "models": made,
        "timed": len(some),
        "rounds": rounds,
        "noisy": result.noisy,
        "p50_spread": result.p50_spread,
    }


def _check(fold: int, timed: int, rounds: int, limit: int | None) -> None:
    if fold not in range(FOLDS):
        raise ConfigError(f"--fold {fold}: expected one of {', '.join(map(str, range(FOLDS)))}")
    if timed < 1 or rounds < 1 or (limit is not None and limit < 1):
        raise ConfigError("--timed, --rounds and --limit must be at least 1")


def _read(ours: Sequence[str], fold: int) -> list[Ours]:
    bundles = [Ours.read(value, fold) for value in ours]
    names = {one.name for one in bundles}
    if len(names) < len(bundles) or {PLAIN, *(peer.name for peer in PEERS)} & names:
        raise ConfigError("--ours: names must differ from each other and from those of the peers")
    return bundles


def _teacher(run: Run, source: Source, dataset: Dataset, fold: int) -> Answers:
    """What the teacher itself answers, where the peer that is no more than the teacher can't be had."""
    eager = entries.of_torch_eager(source.model, TEACHER, source.facts["max_length"], (fold,))
    return answers_of(run, eager, source.identity, dataset.test.texts, dataset.label_names)


def chosen(only: str | None) -> tuple[Outside, ...]:
    """The peers of these names, separated by commas; all of them by default.

    Raises:
        ConfigError: a name is unknown.
    """
    names = [peer.name for peer in PEERS] if only is None else [name.strip() for name in only.split(",")]
    if unknown := sorted(set(names) - {peer.name for peer in PEERS}):
        raise ConfigError(f"--only {unknown[0]}: unknown; known are {', '.join(peer.name for peer in PEERS)}")
    return tuple(peer for peer in PEERS if peer.name in names)


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    ours: Annotated[list[str], typer.Option(help="NAME=BUNDLE or NAME=BUNDLE:PRECISION; may be given several times.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    teacher: Annotated[
        Path | None, typer.Option(help="Fine-tuned folder of that fold; runs/teachers/r-drop-FOLD/teacher by default.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Peers, separated by commas; all by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="Test texts read; all by default.")] = None,
    timed: Annotated[int, typer.Option(help="Test texts on the clock; accuracies rest on all.")] = TIMED,
    rounds: Annotated[int, typer.Option(help="How often the models take turns.")] = 10,
    work: Annotated[Path, typer.Option(help="Folder of what is made for the peers.")] = Path("runs/peers"),
    prepare: Annotated[bool, typer.Option(help="Stop before the clock.")] = False,
) -> None:
    """Make, answer, time, and write the piece."""
    try:
        _check(fold, timed, rounds, limit)
        peers, bundles = chosen(only), _read(ours, fold)
        dataset = sources.load(DataConfig(seed=fold)).subset(test=limit)
        folder = teacher or Path(f"runs/teachers/r-drop-{fold}/teacher")
        with Run(work / f"fold-{fold}", "peers") as run:
            source = Source.of(run, folder, dataset)
            found = gather(run, source, bundles, peers, fold)
            answer(run, found, bundles, dataset)
            truth = found.answers.get(UNCHANGED) or _teacher(run, source, dataset, fold)
            if prepare:
                typer.echo(f"{len(found.entries)} models are ready for the clock")
                return
            made = measure(run, found, dataset, timed, rounds)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    reference = {**rows.accuracy_of(truth, dataset.test.labels), "fingerprint": source.identity}
    made |= {"ours": [one.name for one in bundles], "teacher": reference, "failed": found.failed}
    pieces.write(out, [], fold=fold, n_test=len(dataset.test), **made)
    for name, one in made["models"].items():
        typer.echo(f"{name}: {one['accuracy']['value']:.4f}, p50 {one['latency_ms']['p50']:.3f} ms")


if __name__ == "__main__":
    typer.run(main)
