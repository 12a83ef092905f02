"""A worker that only pretends, and a report that was never measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.benchmarks import report
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import AllThreads, Measured, Result

LABELS = ("negative", "positive")

FAKE_WORKER = """
import json, os, sys, time
spec = json.load(open(sys.argv[1]))
options = spec["options"]
log = open(options["log"], "a")
print(os.getpid(), file=open(options["log"] + ".pids", "a"))
asked = 0

def label(text):
    return len(text) % 2

def say(message):
    print(json.dumps(message), flush=True)

if options.get("die") == "load":
    sys.exit("the model file is gone")
say({"labels": options.get("labels", ["negative", "positive"]), "parameters": 7, "bytes": 1000})
for line in sys.stdin:
    request = json.loads(line)
    do, texts = request["do"], request.get("texts", [])
    if options.get("die") == do:
        sys.stderr.write("first line\\nRuntimeError: out of luck\\n")
        sys.exit(3)
    if options.get("hang") == do:
        time.sleep(60)
    if do == "warm":
        say({"ns": options["ns"]})
    elif do == "peak":
        say({"peak_bytes": 5_000_000})
    elif do == "one":
        asked += 1
        log.write(f"{options['name']} {spec['threads']} {len(texts)}\\n"); log.flush()
        ns = options["ns"] * (options.get("slow_round_factor", 1) if asked == 2 else 1)
        flip = options.get("change_mind") and asked > options["change_mind"]
        answers = [label(text) ^ bool(flip) for text in texts]
        rows = [[1.0 - answer, float(answer)] for answer in answers]
        say({"ns": [int(ns) for _ in texts], "answers": answers, "probabilities": rows})
    elif do == "batching":
        together = bool(options.get("together"))
        say({"together": together, "why": None if together else "dynamic"})
    elif do == "sized":
        size = request["size"] or 1
        pieces = [len(texts[at:at + size]) for at in range(0, len(texts), size)]
        # Half of a text's time is spent a call, half a text.
        calls = [int(options["ns"] * (1 + piece) / 2) for piece in pieces]
        say({"ns": sum(calls), "calls": calls, "answers": [label(text) for text in texts]})
    elif do == "serve":
        now, latencies = 0, []
        for due in request["due_ns"]:
            now = max(now, due) + int(options["ns"])
            latencies.append(now - due)
        say({"ns": latencies, "calls": len(texts), "busy_ns": int(options["ns"]) * len(texts), "total_ns": now})
    elif do == "memory":
        say({"rss_bytes": 4_000_000, "peak_bytes": 5_000_000})
    elif do == "batch":
        say({"ns": options["ns"] * len(texts) // spec["threads"], "answers": [], "probabilities": []})
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Entry]:
    """Makes entries of a worker that claims to need ``ns`` nanoseconds a text; the label is the length's parity."""
    script = tmp_path / "fake_worker.py"
    script.write_text(FAKE_WORKER)

    def make(name: str, ns: int = 1_000_000, role: str = "", **options: Any) -> Entry:
        full = {"name": name, "ns": ns, "log": str(tmp_path / "log"), **options}
        facts = {"model": name, "role": role, "command": (sys.executable, str(script))}
        return Entry(name, "none", "fp32", "none", full, **facts)

    return make


def measured(answers: Any, p50_ms: float, spread: float = 0.02, rounds: int = 10) -> Measured:
    """Answers given with 90% confidence; latencies have the median ``p50_ms``, rounds differ by ``spread``."""
    n = len(answers)
    probabilities = np.where(np.eye(2)[answers] == 1, 0.9, 0.1)
    return Measured(
        answers=np.asarray(answers),
        probabilities=probabilities,
        elapsed_ns=(p50_ms * 1e6 * np.linspace(0.5, 1.5, n)).astype(np.int64),
        round_p50_ms=tuple(p50_ms * (1 + spread * (turn / (rounds - 1) - 0.5)) for turn in range(rounds)),
        facts={"parameters": 1_000_000, "bytes": 4_000_000, "labels": list(LABELS)},
        peak_bytes=300_000_000,
        throughput_per_s=1000 / p50_ms,
        all_threads=AllThreads(2, p50_ms * 0.6, 1800 / p50_ms),
    )


SPECIMENS = (
    # name, model, role, engine, precision, p50 ms, share of the teacher's right answers that are kept
    ("teacher torch eager", "teacher", "teacher_eager", "torch", "fp32", 16.0, 1.0),
    ("teacher fp32", "teacher", "teacher_fp32", "onnxruntime", "fp32", 9.0, 1.0),
    ("teacher int8", "teacher", "teacher", "onnxruntime", "int8", 3.6, 0.999),
    ("teacher plain int8", "teacher plain", "teacher_int8", "onnxruntime", "int8", 4.0, 0.998),
    ("student-l3 fp32", "student-l3", "student", "onnxruntime", "fp32", 4.4, 0.992),
    ("student-l3 int8", "student-l3", "student", "onnxruntime", "int8", 1.6, 0.99),
    ("student-l2 fp32", "student-l2", "student", "onnxruntime", "fp32", 3.0, 0.978),
    ("student-l2 int8", "student-l2", "student", "onnxruntime", "int8", 1.0, 0.975),
    ("TF-IDF + logistic regression", "tfidf", "floor", "scikit-learn", "fp64", 0.5, 0.85),
)


def specimen_answers(gold: np.ndarray, teacher_wrong: int, kept: float) -> np.ndarray:
    """Wrong on the last ``teacher_wrong`` items, and on as many of the first ones as are not kept."""
    answers = gold.copy()
    answers[len(gold) - teacher_wrong :] ^= 1
    answers[: round((1 - kept) * (len(gold) - teacher_wrong))] ^= 1
    return answers


@pytest.fixture(scope="session")
def specimen() -> Callable[..., dict[str, Any]]:
    """Makes whole reports of 2,000 made-up texts: a teacher at 88%, students that lose 1% and 2.5% of that."""

    def make(rename: dict[str, str] | None = None, spread: float = 0.02, **changes: Any) -> dict[str, Any]:
        gold = np.arange(2000) % 2
        entries, models = [], {}
        for name, model, role, engine, precision, p50, kept in SPECIMENS:
            shown = (rename or {}).get(name, name)
            entries.append(Entry(shown, engine, precision, "none", model=model, role=role, seeds=(0,)))
            models[shown] = measured(specimen_answers(gold, 240, kept), p50, spread)
        result = Result(1, LABELS, len(gold), models, Path())
        teacher = (rename or {}).get("teacher fp32", "teacher fp32")
        rows = report.rows(result, entries, gold.tolist(), LABELS, teacher=teacher)
        run = report.RunFacts(
            command="lilliput demo",
            commands=["lilliput demo --out runs/demo"],
            config={"seed": 0, "teacher": {"epochs": 3}},
            minutes=17.0,
            peak_gb=3.0,
            teacher_floor=0.865,
            tampers_refused=200,
        )
        words = {"p50": 17, "p90": 35, "p99": 48, "max": 62}
        split = {"rows": 2000, "labels": {"negative": 1000, "positive": 1000}, "words": words}
        facts = {
            "rows_in": 3000,
            "rows_used": 2900,
            "rows_rejected": {"duplicate": 100},
            "duplicates_removed": 100,
            "label_conflicts": 3,
            "overlap": {"train/test": 0},
            "notes": ["a note"],
            "samples": [],
            "splits": {"test": split, "transfer": {**split, "labels": {}}},
        }
        fields: dict[str, Any] = {
            "title": "Sentiment of films",
            "data": {"name": "films", "split": "test", "n_test": 2000, "fingerprint": "3f9c", "report": facts},
            "run": run,
            "gates": [{"name": "teacher", "precision": "int8", "texts": 500, "max_difference": 0.3, "agreement": 0.99}],
            "targets": report.demo_targets(),
            **changes,
        }
        return report.build_report(rows, result, **fields)

    return make
