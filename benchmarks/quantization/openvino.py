"""Our int8 graphs and OpenVINO's: ``python -m lilliput.benchmarks.quantization.openvino BUNDLE --fold 0 --out FILE``.

The graphs that a bundle ships run on plain ONNX Runtime, in turns with the same weights quantized by NNCF on
OpenVINO: the same texts one at a time on one thread, and the same tokenizer in front of both, so that what differs is
the graph and its engine. Beside them, without a part in the figure: the bundle as an app opens it, and our graphs on
the OpenVINO execution provider of ONNX Runtime.

The ratio depends on the processor more than other figures do: OpenVINO's int8 is made for VNNI or AMX, without which it
may be slower than its own float32. So the piece names the processor's features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import machine, statistics
from lilliput.benchmarks import entries, latency, pieces
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import Result
from lilliput.benchmarks.peers.measure import environments, making
from lilliput.benchmarks.peers.measure.making import Source
from lilliput.benchmarks.peers.measure.roster import PEERS, command, own_interpreter
from lilliput.bundle import Bundle
from lilliput.config import DataConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run
from lilliput.train import sources
from lilliput.train.data import Dataset

FIGURE = "quantize.openvino_ratio"
PRECISIONS = ("int8", "int8-static")
OPENVINO = "openvino-int8"
PROVIDER = "OpenVINOExecutionProvider"
PROVIDER_PACKAGES = "onnxruntime-openvino"
TOLERANCE = 1e-6


def graph_entry(name: str, bundle: Bundle, precision: str, source: Source, **more: Any) -> Entry:
    """A graph of a bundle in a session of ONNX Runtime; ``more`` are options of the peer ``onnx_graph``, and
    ``python``."""
    graph = bundle.manifest.graphs[precision]
    options: dict[str, Any] = {
        "graph": str(bundle.path.absolute() / graph["file"]),
        "tokenizer": str(source.model / "tokenizer.json"),
        "facts": dict(source.facts),
        "disabled_optimizers": list(graph["disabled_optimizers"]),
    }
    python = more.pop("python", own_interpreter())
    return Entry(
        name=name,
        engine="onnxruntime",
        precision=precision,
        peer="onnx_graph",
        options={**options, **more},
        model="teacher",
        tolerance=TOLERANCE,
        command=command(python, "work"),
    )


def candidates(run: Run, folder: Path, dataset: Dataset) -> tuple[dict[str, Entry], dict[str, str]]:
    """What is measured, by name, and why the provider is missing where it is.

    Raises:
        ConfigError: the bundle ships no int8 graph.
        LilliputError: OpenVINO can't be had.
    """
    bundle = Bundle.open(folder)
    shipped = [precision for precision in PRECISIONS if precision in bundle.manifest.graphs]
    if not shipped:
        raise ConfigError(f"{folder}: ships no int8 graph; `lilliput quantize` makes them")
    source = Source.of(run, folder, dataset)
    (peer,) = (one for one in PEERS if one.name == OPENVINO)
    found = {OPENVINO: making.entry_of(run, peer, source)}
    for precision in shipped:
        found[precision] = graph_entry(precision, bundle, precision, source)
        found[f"{precision} in the runtime"] = entries.of_bundle(folder.absolute(), "runtime", precision)
    failed = {}
    try:
        python = environments.interpreter(PROVIDER_PACKAGES)
    except LilliputError as error:
        failed[PROVIDER] = str(error)
    else:
        settings = {"device_type": "CPU", "num_of_threads": "1"}
        for precision in ("fp32", *shipped):
            name = f"{precision} on the OpenVINO provider"
            more = {"python": python, "execution_provider": PROVIDER, "execution_settings": settings}
            found[name] = graph_entry(name, bundle, precision, source, **more)
    return found, failed


def ratios_of(result: Result, found: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Of every model: p50 over that of OpenVINO in the same round, its median and interval over the rounds."""
    made = {}
    for name, entry in found.items():
        seen = result.models[entry.name]
        row: dict[str, Any] = {"p50_ms": seen.p50_ms, "round_p50_ms": list(seen.round_p50_ms)}
        if name != OPENVINO:
            row["ratio"] = asdict(statistics.median_interval(result.speedups(found[OPENVINO].name, entry.name)))
        made[name] = row
    return made


def figure_of(rows: Mapping[str, Mapping[str, Any]], fold: int) -> tuple[pieces.Figure, str]:
    """The ratio of the quickest of our graphs on plain ONNX Runtime, and its name."""
    best = min((name for name in PRECISIONS if name in rows), key=lambda name: rows[name]["ratio"]["value"])
    ratio, rounds = rows[best]["ratio"], len(rows[best]["round_p50_ms"])
    return pieces.Figure(FIGURE, ratio["value"], "times", (ratio["low"], ratio["high"]), rounds, (fold,)), best


def main(
    bundle: Annotated[Path, typer.Argument(help="Of a teacher of the fold, with the graphs int8 and int8-static.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data, which the model was trained on: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    timed: Annotated[int, typer.Option(help="Test texts on the clock.")] = 600,
    rounds: Annotated[int, typer.Option(help="How often the models take turns.")] = 10,
    work: Annotated[Path, typer.Option(help="Folder of what is made.")] = Path("runs/quantize"),
    prepare: Annotated[bool, typer.Option(help="Stop before the clock.")] = False,
) -> None:
    """Make what is not there yet, time all in turns, and write the piece."""
    try:
        dataset = sources.load(DataConfig(seed=fold))
        with Run(work / f"openvino-{fold}", "quantization against OpenVINO") as run:
            found, failed = candidates(run, bundle, dataset)
            if prepare:
                return
            indices = sorted(latency.deal(dataset.test.texts, max(1, round(len(dataset.test) / timed)))[0])
            texts = [dataset.test.texts[index] for index in indices]
            result = latency.run(
                list(found.values()), texts, threads=1, rounds=rounds, folder=run.folder / "timing", all_cores=False
            )
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    rows, golds = ratios_of(result, found), np.array(dataset.test.labels)[indices]
    for name, entry in found.items():
        rows[name]["accuracy"] = float((result.models[entry.name].answers == golds).mean())
        typer.echo(f"{name}: p50 {rows[name]['p50_ms']:.3f} ms, accuracy {rows[name]['accuracy']:.4f}")
    figure, best = figure_of(rows, fold)
    noise = {"noisy": result.noisy, "p50_spread": result.p50_spread}
    features = machine.cpu().features
    facts = {"timed": len(texts), "best": best, "features": None if features is None else list(features)}
    pieces.write(out, [figure], fold=fold, **facts, graphs=rows, failed=failed, **noise)
    typer.echo(f"{FIGURE}: {figure.value:.3f} ({best})")


if __name__ == "__main__":
    typer.run(main)
