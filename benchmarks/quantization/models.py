"""What int8 costs: ``python -m lilliput.benchmarks.quantization.models BUNDLES... --fold 0 --out FILE.json``.

Bundles of models of the embedded film reviews answer every test text of their fold in fp32 and in int8, one at a time,
on the path of an app. The int8 graph with static scales, which ``lilliput quantize`` makes of each, answers validation
and transfer texts alone and in batches.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import models, runtime, statistics
from lilliput.benchmarks import commands, pieces
from lilliput.bundle import Bundle
from lilliput.config import DataConfig, QuantizeConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run
from lilliput.train import sources
from lilliput.train.data import Split
from lilliput.types import ONNX_FILES

STATIC = "int8-static"


def measure(bundle: Path, test: Split, static: Path, batches: dict[str, Any]) -> dict[str, Any]:
    """What int8 does to one model.

    Args:
        static: the bundle that `lilliput quantize` made of it, and what that found of ``batches``.
    """
    gold = np.array(test.labels)
    fp32, int8 = (_labels(bundle, precision, test.texts) for precision in ("fp32", "int8"))
    drop = statistics.difference(fp32 == gold, int8 == gold)
    fixed = _labels(static, STATIC, test.texts)
    lost = statistics.difference(fp32 == gold, fixed == gold)
    sizes = {name: entry.size for name, entry in Bundle.open(bundle).manifest.files.items()}
    return {
        "int8": {"drop_points": _points(drop), "agreement": statistics.agreement(int8, fp32)},
        "int8-static": {"drop_points": _points(lost), "agreement": statistics.agreement(fixed, fp32), **batches},
        "bytes_ratio": sizes[ONNX_FILES["int8"]] / sizes[ONNX_FILES["fp32"]],
        "fp32": asdict(statistics.accuracy(fp32 == gold)),
    }


def _labels(bundle: Path, precision: str, texts: list[str]) -> NDArray[np.int64]:
    return runtime.load(bundle, precision=precision).logits(texts).argmax(axis=1)


def _points(drop: statistics.Estimate) -> list[float]:
    """Value and interval in points."""
    return [100 * drop.value, 100 * drop.low, 100 * drop.high]


def quantized(run: Run, bundle: Path, fold: int) -> tuple[Path, dict[str, Any]]:
    """The bundle with static scales, made once, and what was found of its batches."""

    def work(folder: Path) -> dict[str, Any]:
        return commands.run(QuantizeConfig(model=str(bundle), precision=STATIC, seed=fold, out=folder / "bundle"))

    identity = {"bundle": models.fingerprint(bundle / "onnx"), "manifest": models.fingerprint(bundle)}
    stage = run.stage(bundle.name, identity, work)
    return stage.folder / "bundle", dict(stage.result["batches"])


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles with fp32 and int8 graphs, of different names.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data, which the models were trained on: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    work: Annotated[Path, typer.Option(help="Folder of the bundles with static scales.")] = Path("runs/quantize"),
) -> None:
    """Quantize what is not there yet, measure all, and write the piece."""
    try:
        if len({bundle.name for bundle in bundles}) < len(bundles):
            raise ConfigError("BUNDLES: must have different folder names")
        test, rows = sources.load(DataConfig(seed=fold)).test, {}
        with Run(work / f"fold-{fold}", "quantization") as run:
            for bundle in bundles:
                row = rows[bundle.name] = measure(bundle, test, *quantized(run, bundle, fold))
                for precision in ("int8", STATIC):
                    lost, low, high = row[precision]["drop_points"]
                    typer.echo(f"{bundle.name} {precision}: {lost:.2f} points lost ({low:.2f} to {high:.2f})")
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    pieces.write(out, [], fold=fold, n_test=len(test), models=rows)


if __name__ == "__main__":
    typer.run(main)
