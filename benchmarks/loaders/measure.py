"""A bundle in others' loaders: ``python -m lilliput.benchmarks.loaders.measure --bundle BUNDLE --out FILE.json``.

BUNDLE is one for classification. Every loader of the roster opens it in its own environment and answers 200 test texts
of the embedded data, and a few made ones that are empty, long or in other scripts; the loader of sentence embeddings
opens a bundle of a tiny random encoder. Tokens, labels and scores are compared with those of `lilliput.load`, in fp32.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.loaders import asking, comparing, embedding
from lilliput.benchmarks.loaders.roster import BROWSER, LOADERS, Loader
from lilliput.benchmarks.readme import replaced
from lilliput.bundle import Bundle
from lilliput.config import DataConfig
from lilliput.errors import ConfigError, FetchError, LilliputError
from lilliput.runs import write_text
from lilliput.train import sources

TEXTS, GATE_TEXTS = 200, 50
MADE = ("", " ", "漢字 and مرحبا 😀 naïve", "[MASK] [SEP] it's <b>don't</b>\t\n", "not good, " * 200, "a" * 500)
"""Texts that the data don't have: nothing, other scripts, special tokens, more tokens than a bundle reads."""

TABLE = "loaders"
"""Of `table`, in the page."""


def tried(loader: Loader, bundle: Path, texts: Sequence[str]) -> dict[str, Any]:
    """How a loader does with a bundle, or why it can't be tried.

    Returns:
        ``ok``: whether it agrees on all of ``texts``; ``reason`` where it does not; the agreement on ``texts`` and on
        the ``made`` ones, which do not count; ``versions`` of what answered, and ``seconds``.
    """
    every, begun = [*texts, *MADE], time.monotonic()
    try:
        found = asking.ask(loader, bundle, every)
    except LilliputError as error:
        why = "can't be installed" if isinstance(error, FetchError) else "failed"
        return {"ok": False, "reason": f"{why}: {error}"}
    expected = comparing.ours(bundle, every)
    halves = {"texts": slice(len(texts)), "made": slice(len(texts), None)}
    if len(found.tokens) != len(every) or len(found.values) != len(every):
        return {"ok": False, "reason": f"answers to {len(found.values)} texts of {len(every)}"}
    row: dict[str, Any] = {"ok": False, "versions": dict(found.versions), "seconds": round(time.monotonic() - begun, 1)}
    for name, half in halves.items():
        agreement = comparing.compare(asking.part(found, half), asking.part(expected, half))
        row[name] = asdict(agreement)
        if name == "texts":
            row["ok"] = agreement.whole
    return row if row["ok"] else {**row, "reason": _difference(row["texts"])}


def _difference(seen: Mapping[str, Any]) -> str:
    """In what a loader's answers differ from ours."""
    if seen["difference"] is None:
        return "other labels, or scores that are no numbers"
    wrong = [f"other {name} in {1 - seen[name]:.1%} of the texts" for name in ("tokens", "labels") if seen[name] < 1]
    return ", ".join(wrong) or f"scores that differ by up to {seen['difference']:.2g}"


def figures_of(rows: Mapping[str, Mapping[str, Any]]) -> list[pieces.Figure]:
    """The promised figures; the browser's is None where it did not answer."""
    ok = sum(row["ok"] for row in rows.values())
    seen = rows[BROWSER.name].get("texts")
    share, count = (seen["labels"], seen["texts"]) if seen else (None, None)
    return [
        pieces.Figure("export.loaders_ok", float(ok), f"of {len(LOADERS)}", None, len(rows)),
        pieces.Figure("export.browser_label_match", share, "share", None, count),
    ]


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The loaders as a Markdown table."""
    lines = ["| loader | agrees | same label | same tokens | largest difference | versions |"]
    lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
    for name, row in rows.items():
        agrees = "yes" if row["ok"] else f"no: {row['reason']}".replace("|", "\\|")
        cells = ["", "", ""]
        if seen := row.get("texts"):
            difference = "" if seen["difference"] is None else f"{seen['difference']:.1e}"
            cells = [f"{seen['labels']:.1%}", f"{seen['tokens']:.1%}", difference]
        versions = ", ".join(f"{package} {version}" for package, version in row.get("versions", {}).items())
        lines.append("| " + " | ".join([name, agrees, *cells, versions]) + " |")
    return "\n".join(lines)


def main(
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="A bundle for classification.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data, whose test texts are asked: 0, 1 or 2.")] = 2,
    page: Annotated[Path | None, typer.Option(help="Markdown page whose table of loaders is written anew.")] = None,
) -> None:
    """Try every loader, and write the piece."""
    try:
        if (task := Bundle.open(bundle).manifest.task) != "classification":
            raise ConfigError(f"--bundle {bundle}: a bundle for {task}; the loaders' texts are for classification")
        data = sources.load(DataConfig(seed=fold))
        texts, rows = data.test.texts[:TEXTS], {}
        with tempfile.TemporaryDirectory() as place:
            vectors = embedding.bundle_like(bundle, data.validation.texts[:GATE_TEXTS], Path(place) / "vectors")
            for loader in LOADERS:
                row = rows[loader.name] = tried(loader, bundle if loader.task == task else vectors, texts)
                typer.echo(f"{loader.name}: {'ok' if row['ok'] else row['reason']}")
        figures = figures_of(rows)
        pieces.write(out, figures, fold=fold, texts=len(texts), made=len(MADE), loaders=rows)
        if page:
            write_text(page, replaced(page.read_text(encoding="utf-8"), TABLE, table(rows), page))
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in figures:
        typer.echo(f"{figure.id}: {figure.value} {figure.unit}")


if __name__ == "__main__":
    typer.run(main)
