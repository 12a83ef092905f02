"""The runtime in an app: ``python -m lilliput.benchmarks.serving.runtime BUNDLE --out FILE.json``.

How long a fresh process takes from the import to the first answer; whether 32 threads that share a model get the
answers that one gets; and how much a process grows over texts of random lengths.
"""

from __future__ import annotations

import gc
import random
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from lilliput import runtime
from lilliput.benchmarks import pieces
from lilliput.errors import LilliputError

STARTS, THREADS, CALLS, TEXTS = 7, 32, 2000, 50_000
WORDS = ("the", "film", "was", "a", "joy", "from", "start", "to", "finish", "and", "not", "one", "is", "bad", "dull")

COLD = """
import time
start = time.perf_counter()
import sys
import lilliput
lilliput.load(sys.argv[1])("a joy from start to finish")
print(time.perf_counter() - start)
"""


def cold_start(bundle: Path) -> list[float]:
    """Seconds from the import to the first answer, in fresh processes; the first one, which fills caches, aside."""
    found = []
    for _ in range(STARTS + 1):
        done = subprocess.run([sys.executable, "-c", COLD, str(bundle)], capture_output=True, text=True, check=True)
        found.append(float(done.stdout))
    return found[1:]


def text_of(draw: random.Random, most: int) -> str:
    """A text of 1 to ``most`` words."""
    return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))


def mismatches(model: Any, seed: int = 0) -> int:
    """Answers of `THREADS` threads at once, `CALLS` each, that differ in any bit from those of one thread."""
    draw = random.Random(seed)
    texts = [text_of(draw, 20) for _ in range(200)]
    expected = [model.logits([text]).tobytes() for text in texts]
    wrong = [0] * THREADS

    def work(number: int) -> None:
        own = random.Random(number)
        for _ in range(CALLS):
            which = own.randrange(len(texts))
            wrong[number] += model.logits([texts[which]]).tobytes() != expected[which]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(wrong)


def growth(model: Any, seed: int = 0) -> float:
    """Megabytes that the process grows by over texts of random lengths, after a first thousand of them."""
    draw, most = random.Random(seed), model.manifest.max_length
    process = psutil.Process()
    for _ in range(1000):
        model.logits([text_of(draw, most)])
    gc.collect()
    before = process.memory_info().rss
    for _ in range(TEXTS):
        model.logits([text_of(draw, most)])
    gc.collect()
    return (process.memory_info().rss - before) / 1e6


def main(
    bundle: Annotated[Path, typer.Argument(help="A bundle for classification.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
) -> None:
    """Measure all three and write the piece."""
    try:
        starts = cold_start(bundle)
        model = runtime.load(bundle, workers=1)
        wrong, grown = mismatches(model), growth(model)
    except (LilliputError, subprocess.CalledProcessError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    figures = [
        pieces.Figure("export.cold_start_s", statistics.median(starts), "s", (min(starts), max(starts)), len(starts)),
        pieces.Figure("export.threads_mismatch", float(wrong), "answers", None, THREADS * CALLS),
        pieces.Figure("export.rss_growth_mb", grown, "MB", None, TEXTS),
    ]
    pieces.write(out, figures, bundle=model.manifest.name, bytes=model.opened_bytes)
    for figure in figures:
        typer.echo(f"{figure.id}: {figure.value:.3f} {figure.unit}")


if __name__ == "__main__":
    typer.run(main)
