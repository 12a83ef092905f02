"""Planted faults of data sets: ``python -m lilliput.benchmarks.training.faults --out FILE.json``.

Twenty data sets of random words have one fault each, of another kind or format; a fault counts as named when the check
has a finding at its file and line. Five data sets without a fault must have no finding at all.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.config import DataConfig
from lilliput.errors import LilliputError
from lilliput.train.checking import check

ROWS = 120
PLANTED = 57
"""Row that has the fault, counted from 0."""


def sentence(draw: Random) -> str:
    """Ten words that no other sentence has in this order."""
    return " ".join("".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(5)) for _ in range(10))


def classification(draw: Random) -> list[dict[str, Any]]:
    """Texts of two labels, which take turns."""
    return [{"text": sentence(draw), "label": ("good", "bad")[number % 2]} for number in range(ROWS)]


def multi_label(draw: Random) -> list[dict[str, Any]]:
    """Texts with one or two labels."""
    choices = (["plot"], ["music"], ["plot", "music"])
    return [{"text": sentence(draw), "labels": choices[number % 3]} for number in range(ROWS)]


def tokens(draw: Random) -> list[dict[str, Any]]:
    """Words of which the third is a name."""
    rows = [{"tokens": sentence(draw).split()} for _ in range(ROWS)]
    return [{**row, "tags": ["O", "O", "B-PER", *["O"] * 7]} for row in rows]


def questions(draw: Random) -> list[dict[str, Any]]:
    """Questions about a word of a context."""
    rows = []
    for _ in range(ROWS):
        context = sentence(draw)
        rows.append({"question": sentence(draw), "context": context, "answers": [context.split()[4]]})
    return rows


def scores(draw: Random) -> list[dict[str, Any]]:
    """Texts with a number."""
    return [{"text": sentence(draw), "score": round(draw.uniform(1, 5), 2)} for _ in range(ROWS)]


def relations(draw: Random) -> list[dict[str, Any]]:
    """Texts with two marked words."""
    rows = []
    for number in range(ROWS):
        words = sentence(draw).split()
        words[2], words[6] = f"[E1] {words[2]} [/E1]", f"[E2] {words[6]} [/E2]"
        rows.append({"text": " ".join(words), "label": ("works-for", "born-in")[number % 2]})
    return rows


CLEAN: dict[str, Callable[[Random], list[dict[str, Any]]]] = {
    "classification": classification,
    "multi-label": multi_label,
    "token-classification": tokens,
    "question-answering": questions,
    "regression": scores,
}


def table(rows: list[dict[str, Any]], delimiter: str = ",") -> list[bytes]:
    """The lines of a CSV or TSV file, header first."""
    made = io.StringIO()
    writer = csv.DictWriter(made, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return [line.encode() for line in made.getvalue().splitlines()]


def json_lines(rows: list[dict[str, Any]]) -> list[bytes]:
    """The lines of a JSONL file."""
    return [json.dumps(row).encode() for row in rows]


@dataclass(frozen=True)
class Case:
    """A fault: the task, the format, and how a row, or its line as it is written, is spoilt.

    ``split`` is the file that has the fault, where there is one for each split.
    """

    task: str
    ending: str
    row: Callable[[list[dict[str, Any]], dict[str, Any]], None] | None = None
    line: Callable[[bytes], bytes] | None = None
    split: str = ""


def _near(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    words = rows[3]["text"].split()
    row["text"], row["label"] = " ".join([*words, "again"]), rows[3]["label"]


CASES: dict[str, Case] = {
    "too many columns": Case("classification", "csv", line=lambda line: line + b",more"),
    "too few columns": Case("classification", "tsv", line=lambda line: line.split(b"\t")[0]),
    "a quote that is never closed": Case("classification", "csv", line=lambda line: b'"' + line),
    "a byte that is not UTF-8": Case("classification", "csv", line=lambda line: b"\xff" + line),
    "a NUL byte": Case("classification", "csv", line=lambda line: b"a\0" + line),
    "an empty text": Case("classification", "csv", lambda rows, row: row.update(text="  ")),
    "a missing label": Case("classification", "csv", lambda rows, row: row.update(label="")),
    "a line that is no JSON": Case("classification", "jsonl", line=lambda line: line[:-2]),
    "a text that is a number": Case("classification", "jsonl", lambda rows, row: row.update(text=7)),
    "a duplicate": Case("classification", "csv", lambda rows, row: row.update(rows[3])),
    "a duplicate with another label": Case(
        "classification", "csv", lambda rows, row: row.update(text=rows[3]["text"], label="good")
    ),
    "text that was decoded wrongly": Case(
        "classification", "csv", lambda rows, row: row.update(text=row["text"] + " cafÃ© crÃ¨me")
    ),
    "a label that is nearly another": Case("classification", "csv", lambda rows, row: row.update(label="GOOD")),
    "a text of training in the test": Case(
        "classification", "csv", lambda rows, row: row.update(text=rows[3]["text"]), split="test"
    ),
    "nearly a text of training in the test": Case("classification", "csv", _near, split="test"),
    "a label that training lacks": Case(
        "classification", "csv", lambda rows, row: row.update(label="middling"), split="test"
    ),
    "fewer tags than words": Case("token-classification", "jsonl", lambda rows, row: row["tags"].pop()),
    "an answer that is not there": Case(
        "question-answering", "jsonl", lambda rows, row: row.update(answers=["nowhere"])
    ),
    "a score that is no number": Case("regression", "csv", lambda rows, row: row.update(score="high")),
    "a marker that is missing": Case(
        "relation-extraction", "csv", lambda rows, row: row.update(text=row["text"].replace("[/E2] ", ""))
    ),
}


def plant(case: Case, folder: Path, draw: Random) -> tuple[Path, Path, int]:
    """Write the data set; what is checked, and file and line of the fault."""
    rows = (relations if case.task == "relation-extraction" else CLEAN[case.task])(draw)
    spoilt = [dict(row) for row in rows]
    if case.split:  # the other rows of the split are its own
        spoilt = [dict(row) for row in CLEAN[case.task](draw)]
    if case.row:
        case.row(rows, spoilt[PLANTED])
    lines = json_lines(spoilt) if case.ending == "jsonl" else table(spoilt, "\t" if case.ending == "tsv" else ",")
    place = PLANTED + (0 if case.ending == "jsonl" else 1)
    if case.line:
        lines[place] = case.line(lines[place])
    folder.mkdir(parents=True)
    if not case.split:
        path = folder / f"data.{case.ending}"
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path, path, place + 1
    for name in ("train", "validation"):
        (folder / f"{name}.csv").write_bytes(
            b"\n".join(table(rows if name == "train" else classification(draw))) + b"\n"
        )
    path = folder / f"{case.split}.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return folder, path, place + 1


def named(case: Case, folder: Path, draw: Random) -> tuple[bool, list[str]]:
    """Whether the check has a finding at the fault's place, and all that it found."""
    data, file, line = plant(case, folder, draw)
    findings = check(DataConfig(data=str(data), task=case.task)).findings
    there = any(Path(one.file) == file and line in {one.line, *one.lines} for one in findings)
    return there, [str(one) for one in findings]


def alarms(task: str, folder: Path, draw: Random) -> int:
    """Findings on a data set without a fault."""
    folder.mkdir(parents=True)
    path = folder / "data.jsonl"
    path.write_bytes(b"\n".join(json_lines(CLEAN[task](draw))) + b"\n")
    return len(check(DataConfig(data=str(path), task=task)).findings)


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    seed: Annotated[int, typer.Option(help="Of the words.")] = 0,
) -> None:
    """Plant the faults, check the data sets, and write the piece."""
    draw = Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            found = {name: named(case, folder / str(i), draw) for i, (name, case) in enumerate(CASES.items())}
            false = {task: alarms(task, folder / f"clean-{task}", draw) for task in CLEAN}
        except LilliputError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error
    count = sum(there for there, _ in found.values())
    figures = [
        pieces.Figure("train.faults_named", count, "of 20", n=len(found), seeds=(seed,)),
        pieces.Figure("train.false_alarms", sum(false.values()), "alarms", n=len(false), seeds=(seed,)),
    ]
    cases = {name: {"named": there, "findings": len(findings)} for name, (there, findings) in found.items()}
    pieces.write(out, figures, cases=cases, clean=false)
    for name, (there, findings) in found.items():
        if not there:
            typer.echo(f"not named: {name}: {findings}")
    typer.echo(f"{count} of {len(found)} named, {sum(false.values())} false alarms")


if __name__ == "__main__":
    typer.run(main)
