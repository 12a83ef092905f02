"""A fresh process that hosts one model: ``python -m lilliput.benchmarks.worker SPEC.json``.

SPEC.json is ``{"peer": "bundle", "threads": 1, "options": {...}}``. The worker loads the model, writes one line, then
answers one JSON line on standard output for every JSON line on standard input, until that is closed:

    (start)                              {"labels": [...], "parameters": 1, "bytes": 1, "import_ns": 1, "load_ns": 1}
    {"do": "one", "texts": [...]}        {"ns": [...], "answers": [...], "probabilities": [[...], ...]}
    {"do": "batch", "texts": [...]}      {"ns": total, "answers": [...], "probabilities": [[...], ...]}
    {"do": "warm", "texts": [...], "seconds": 0.5}      {"ns": expected}
    {"do": "peak"}                       {"peak_bytes": n or null}
    {"do": "batching" | "sized" | "serve" | "memory", ...}      for scenarios: see lilliput.benchmarks.hosted

``ns`` of "one" are end to end, a string in and a label out, tokenizer inside. Python's garbage collector stays on, and
the process is not bound to a core: an app isn't either. Thread counts are set in the environment before numpy or torch
are imported. Standard output carries nothing but the protocol: whatever a library prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from lilliput.benchmarks.hosted import Hosted
    from lilliput.benchmarks.peers import Loader, Peer

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def environment(threads: int) -> dict[str, str]:
    """What a worker adds to its environment: ``threads`` for every library, and no network."""
    pinned = dict.fromkeys(THREAD_VARIABLES, str(threads))
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # The fast tokenizer's pool is of no use to single texts, and a pool in a forked process is a known deadlock.
    return {**pinned, **offline, "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}


def main(spec_path: str) -> None:
    """Load the model that a spec names and answer until standard input ends."""
    protocol = _take_standard_output()
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    os.environ.update(environment(spec["threads"]))

    begun = time.perf_counter_ns()
    load = _loader(spec)  # after the thread counts: what it imports reads them once
    imported = time.perf_counter_ns()
    peer = load(spec["options"], spec["threads"])
    times = {"import_ns": imported - begun, "load_ns": time.perf_counter_ns() - imported}
    _write(protocol, {"labels": list(peer.labels), "parameters": peer.parameters, "bytes": peer.bytes, **times})
    actions: dict[str, Callable[[Peer, dict[str, Any]], dict[str, Any]]] = {
        "one": _one,
        "batch": _batch,
        "warm": _warm,
        "peak": _peak,
    }
    hosted: Hosted | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] in actions:
            _write(protocol, actions[request["do"]](peer, request))
            continue
        if hosted is None:
            from lilliput.benchmarks.hosted import Hosted

            hosted = Hosted(peer, spec)
        _write(protocol, hosted.actions[request["do"]](request))


def _loader(spec: dict[str, Any]) -> Loader:
    if "provider" in spec["options"]:
        from lilliput.benchmarks import providers

        return cast("Loader", providers.load)
    from lilliput.benchmarks import peers

    return peers.get(spec["peer"])


def _one(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from lilliput import timing

    def label_of(text: str) -> tuple[int, Any]:
        probabilities = peer.one(text)
        return int(np.argmax(probabilities)), probabilities

    answers, elapsed = timing.time_each(label_of, request["texts"])
    rows = [np.asarray(probabilities).tolist() for _, probabilities in answers]
    return {"ns": elapsed, "answers": [label for label, _ in answers], "probabilities": rows}


def _batch(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from lilliput import timing

    def labels_of(texts: list[str]) -> tuple[list[int], Any]:
        probabilities = np.asarray(peer.batch(texts))
        return probabilities.argmax(axis=1).tolist(), probabilities

    ((labels, probabilities),), (elapsed,) = timing.time_each(labels_of, [request["texts"]])
    return {"ns": elapsed, "answers": labels, "probabilities": probabilities.tolist()}


def _warm(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    from lilliput import timing

    return {"ns": timing.warm_up(peer.one, request["texts"], seconds=request["seconds"])}


def _peak(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    return {"peak_bytes": peak_memory()}


def peak_memory(status: Path = Path("/proc/self/status")) -> int | None:
    """The most memory this process has held resident, in bytes; None where the system does not say.

    On Linux it is VmHWM, which starts anew with each program: ``ru_maxrss`` would include what the parent held when it
    forked. Elsewhere ``ru_maxrss`` is what there is (macOS counts it in bytes).
    """
    try:
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _take_standard_output() -> TextIO:
    """Keep the real standard output for the protocol; everything else that writes there lands on standard error."""
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return protocol


def _write(protocol: TextIO, message: dict[str, Any]) -> None:
    protocol.write(json.dumps(message) + "\n")
    protocol.flush()


if __name__ == "__main__":
    main(sys.argv[1])
