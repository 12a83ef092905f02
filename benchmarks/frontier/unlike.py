"""Data of another kind: ``python -m lilliput.benchmarks.frontier.unlike --out FILE.json``.

A CSV as somebody might have it is written, and ``lilliput compress`` is told nothing but the file, a model, a speed and
a budget: documents of many sentences, five classes of very different sizes, and what files go through: a byte order
mark, Windows line ends, text that was decoded wrongly once, markup, control characters, empty and repeated rows.

The documents are strings of sentences of the embedded data's four domains, and the class is the domain; the fifth class
has sentences of all.
"""

from __future__ import annotations

import csv
import html
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import commands, pieces
from lilliput.config import CompressConfig
from lilliput.errors import LilliputError
from lilliput.train import embedded

CLASSES = {"movies": 0.55, "products": 0.25, "tweets": 0.12, "editorials": 0.05, "mixed": 0.03}
"""And the share of each."""

FILES = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
SENTENCES = (4, 14)
"""Of a document, at least and at most."""

HARM = 0.05
"""Share of the documents that each kind of damage befalls."""


def sentences(folder: Path) -> dict[str, list[str]]:
    """The sentences of each domain."""
    found = {}
    for domain, name in FILES.items():
        lines = (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
        found[domain] = [line.split("\t")[2] for line in lines if line.count("\t") >= 2]
    return found


def documents(of: Mapping[str, Sequence[str]], count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Texts with their classes; some texts are damaged, empty, or there twice."""
    draw = random.Random(seed)
    kinds = list(CLASSES)
    last = ("", kinds[0])
    for _ in range(count):
        kind = draw.choices(kinds, list(CLASSES.values()))[0]
        domains = list(FILES) if kind == "mixed" else [kind]
        parts = [draw.choice(of[draw.choice(domains)]) for _ in range(draw.randint(*SENTENCES))]
        last = (damaged(" ".join(parts), draw), kind)
        yield last
        if draw.random() < HARM / 2:
            yield last
        if draw.random() < HARM / 2:
            yield " ", kind


def damaged(text: str, draw: random.Random) -> str:
    """A text, perhaps after an accident or two."""
    if draw.random() < HARM:
        text = f"{text} — “café” naïve".encode().decode("cp1252", errors="replace")  # UTF-8 read as Windows-1252
    if draw.random() < HARM:
        text = f"<p>{html.escape(text)}</p><br/>"
    if draw.random() < HARM:
        text = text.replace(" ", "\u00a0\u200b ", 3) + "\x07\x1b[0m"
    if draw.random() < HARM:
        text = text.replace(". ", ".\r\n\r\n", 2).upper()
    return text


def write(path: Path, rows: Iterator[tuple[str, str]]) -> int:
    """The CSV; how many rows it has."""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(("id", "text", "label"))
        for count, (text, kind) in enumerate(rows, start=1):
            writer.writerow((count, text, kind))
    return count


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    rows: Annotated[int, typer.Option(help="Documents.")] = 3000,
    minutes: Annotated[float, typer.Option(help="The budget.")] = 30.0,
    speedup: Annotated[float, typer.Option(help="That is asked for.")] = 4.0,
    work: Annotated[Path, typer.Option(help="Folder of data and search.")] = Path("runs/frontier/unlike"),
    seed: Annotated[int, typer.Option(help="Of the data and the search.")] = 0,
) -> None:
    """Write the data, search, and write the piece."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        count = write(work / "documents.csv", documents(sentences(embedded.fetch_sentiment()), rows, seed))
        settings: dict[str, Any] = {"seed": seed, "speedup": speedup, "budget": 60 * minutes, "out": work / "search"}
        found = commands.run(CompressConfig(model="embedded", data=str(work / "documents.csv"), **settings))
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    told = {name: found[name] for name in ("recommended", "meets", "reason", "claim", "evidence", "seconds", "trials")}
    family = [{key: one[key] for key in ("name", "claim")} for one in found["family"]]
    pieces.write(out, [], rows=count, asked=speedup, **told, family=family, failures=found["failures"])
    typer.echo(found["claim"])


if __name__ == "__main__":
    typer.run(main)
