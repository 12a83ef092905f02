"""Bundles on a GPU: ``python -m lilliput.benchmarks.gpu BUNDLES... --fold 0 --out FILE.json``.

Each graph reads batches of the fold's test texts on CUDA and on TensorRT. Inputs lie in the device's memory before the
clock starts and outputs stay there (IO binding); a call ends when the device says that it is done. What is timed is the
graph: tokenizer and copies are left out, unlike in all measurements on the CPU. Answers are compared with the CPU's.
Where this ONNX Runtime has neither provider, nothing is run, and the command says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import runtime, sessions, timing
from lilliput.benchmarks import pieces, providers
from lilliput.config import DataConfig
from lilliput.errors import LilliputError
from lilliput.train import sources

PROVIDERS = ("cuda", "tensorrt")
BATCHES = (1, 8, 32)
REPEATS = 50


def bound(session: Any, feed: dict[str, NDArray[np.int64]], device: str) -> tuple[Callable[[object], None], Any]:
    """A call of the graph, whose argument is ignored, and the binding that has the outputs: all lie on ``device``."""
    ort, binding = sessions.onnxruntime(), session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, device, 0))
    binding.bind_output("logits", device)
    binding.synchronize_inputs()

    def call(_: object) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()  # the device works on after the call has returned

    return call, binding


def padded(model: runtime.Model, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The graph's inputs for texts as one batch, ``[texts, tokens]`` each."""
    feeds = [model.feed(windows[0]) for windows in model.windows(list(texts))]
    longest = max(feed["input_ids"].shape[1] for feed in feeds)
    return {
        name: np.concatenate([np.pad(feed[name], ((0, 0), (0, longest - feed[name].shape[1]))) for feed in feeds])
        for name in feeds[0]
    }


def measure(bundle: Path, provider: str, texts: Sequence[str], device: str = "cuda") -> list[dict[str, Any]]:
    """A row for each precision and size of a batch: milliseconds a batch, texts a second, and agreement with the CPU.

    Raises:
        LilliputError: the bundle can't be used, or the provider can't be had.
    """
    rows = []
    for precision in runtime.load(bundle).manifest.graphs:
        model = runtime.load(bundle, precision=precision)
        expected = model.logits(list(texts[: max(BATCHES)])).argmax(axis=1)
        graph = (bundle / model.manifest.graphs[precision]["file"]).read_bytes()
        session = sessions.open_session(graph, providers=[provider])
        for size in BATCHES:
            call, binding = bound(session, padded(model, texts[:size]), device)
            timing.warm_up(call, [None])
            _, elapsed = timing.time_each(call, range(REPEATS))
            found = binding.copy_outputs_to_cpu()[0].argmax(axis=1)
            median = float(np.median(elapsed))
            rows.append(
                {
                    "precision": precision,
                    "provider": provider,
                    "batch": size,
                    "ms": median / timing.NS_PER_MS,
                    "texts_per_s": size * timing.NS_PER_S / median,
                    "agreement": float((found == expected[:size]).mean()),
                }
            )
    return rows


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of classifiers, of different names.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")] = 0,
) -> None:
    """Measure, and write the piece; or say why not."""
    absent = {provider: why for provider in PROVIDERS if (why := providers.missing(provider))}
    for provider, why in absent.items():
        typer.echo(f"{provider}: not measured: {why}")
    if len(absent) == len(PROVIDERS):
        return
    try:
        texts = sources.load(DataConfig(seed=fold)).test.texts
        rows = {
            bundle.name: [row for one in PROVIDERS if one not in absent for row in measure(bundle, one, texts)]
            for bundle in bundles
        }
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    pieces.write(out, [], fold=fold, models=rows, absent=absent)
    for name, found in rows.items():
        for row in found:
            typer.echo(f"{name} {row['precision']} {row['provider']}, {row['batch']} texts: {row['ms']:.3f} ms")


if __name__ == "__main__":
    typer.run(main)
