"""VADER's own row: ``python -m lilliput.benchmarks.vader.reproduce --out FILE.json``.

Every rated sentence is a positive, neutral or negative one by its mean rating, and by VADER's compound score, both
with the paper's thresholds of 0.05. The paper does not say on which scale the ratings were compared with them: on
their own, as here, its four figures come out best; the piece also has F1 by ratings divided by 4, so that both lie in
[-1, 1] (``ratings_by_4``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.vader import lexicon, paper, sentences
from lilliput.benchmarks.vader.sentences import Sentence
from lilliput.errors import LilliputError
from lilliput.train import embedded

FIGURE = "vader.reproduced_max_error"
LARGEST_RATING = 4.0


def measure(rows: Sequence[Sentence], scores: Sequence[float], domain: str) -> dict[str, Any]:
    """F1 on all sentences, as in the paper; without duplicates; and by ratings divided by 4."""
    found, ratings = paper.classes_of(scores), [row.rating for row in rows]
    gold = paper.classes_of(ratings)
    first = {row.key: index for index, row in reversed(list(enumerate(rows)))}
    unique = np.array(sorted(first.values()))
    scaled = paper.classes_of(np.array(ratings) / LARGEST_RATING)
    whole = paper.f1_of(gold, found)
    return {
        "n": len(rows),
        "classes": np.bincount(gold, minlength=len(paper.CLASSES)).tolist(),
        **whole,
        "weighted_interval": asdict(paper.jackknifed(gold, found, "weighted")),
        "paper": paper.VADER[domain],
        "error": abs(whole["weighted"] - paper.VADER[domain]),
        "unique": {"n": len(unique), **paper.f1_of(gold[unique], found[unique])},
        "ratings_by_4": paper.f1_of(scaled, found),
    }


def figure_of(domains: dict[str, dict[str, Any]]) -> pieces.Figure:
    """The largest difference to the paper's F1, over the four domains."""
    worst = max(row["error"] for row in domains.values())
    return pieces.Figure(FIGURE, worst, "F1", None, sum(row["n"] for row in domains.values()))


def main(out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")]) -> None:
    """Classify every sentence of the four domains, and write the piece."""
    try:
        data, made = embedded.fetch_sentiment(), {}
        for domain in paper.DOMAINS:
            rows = sentences.read(data, domain)
            with tempfile.TemporaryDirectory() as folder:
                scores = lexicon.compounds([row.text for row in rows], Path(folder))
            made[domain] = measure(rows, scores, domain)
            typer.echo(f"{domain}: weighted F1 {made[domain]['weighted']:.3f}, the paper's {paper.VADER[domain]:.2f}")
        package = lexicon.version()
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    pieces.write(out, [figure_of(made)], domains=made, package=f"vaderSentiment {package}")


if __name__ == "__main__":
    typer.run(main)
