"""The worker process: its protocol, its thread counts, its memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lilliput import machine
from lilliput.benchmarks import entries, latency, worker
from lilliput.benchmarks.peers import tfidf

NOISY_PEER = """
import os, sys
from lilliput.benchmarks import peers, worker

class Peer:
    parameters, bytes = 3, None
    def __init__(self):
        self.labels = [os.environ["OMP_NUM_THREADS"], os.environ["TOKENIZERS_PARALLELISM"], "third"]
    def one(self, text):
        print("a stray print")
        os.system("echo a stray child")
        return [0.2, 0.7, 0.1]
    def batch(self, texts):
        return [self.one(text) for text in texts]

def load(options, threads):
    print("a stray print while loading")
    return Peer()

peers.get = lambda name: load
worker.main(sys.argv[1])
"""


def talk(tmp_path: Path, *requests: dict, threads: int = 1) -> tuple[list[dict], str]:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"peer": "any", "threads": threads, "options": {}}))
    done = subprocess.run(
        [sys.executable, "-c", NOISY_PEER, str(spec)],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_standard_output_carries_nothing_but_the_protocol(tmp_path: Path) -> None:
    (ready, one, batch), stderr = talk(
        tmp_path, {"do": "one", "texts": ["a", "\ud800"]}, {"do": "batch", "texts": ["a"]}
    )
    assert ready["parameters"] == 3
    assert one["answers"] == [1, 1]
    assert one["probabilities"] == [[0.2, 0.7, 0.1]] * 2
    assert len(one["ns"]) == 2
    assert all(ns > 0 for ns in one["ns"])
    assert batch["answers"] == [1]
    assert isinstance(batch["ns"], int)
    assert "a stray print while loading" in stderr
    assert "a stray child" in stderr


@pytest.mark.parametrize(("threads", "parallel"), [(1, "false"), (3, "true")])
def test_thread_counts_are_in_the_environment(tmp_path: Path, threads: int, parallel: str) -> None:
    (ready,), _ = talk(tmp_path, threads=threads)
    assert ready["labels"][:2] == [str(threads), parallel]


def test_the_worker_imports_nothing_that_reads_thread_counts_before_they_are_set() -> None:
    code = "import sys; import lilliput.benchmarks.worker; print('numpy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_peak_memory_is_read_from_the_process_itself(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1000 kB\n")
    assert worker.peak_memory(status) == 2048 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_peak_memory_is_not_inherited_from_the_parent(tmp_path: Path) -> None:
    # With 300 MB held here, ru_maxrss of a child would start there; a bare Python needs a tenth of it.
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    code = "from lilliput.benchmarks.worker import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 5_000_000 < int(done.stdout) < 200_000_000
    assert len(held) == 300_000_000


def test_real_workers_answer_as_the_models_do(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "WARM_S", 0.05)
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    texts = ["a joy from start to finish", "an awful movie", "not good, not bad!", "the film was great", "long " * 40]
    labels = ["negative", "neutral", "positive"]
    train = tfidf.write_train(["good film", "so so", "bad film"] * 4, [2, 1, 0] * 4, tmp_path / "train.json")
    models = [
        entries.of_bundle(tiny_bundle, "tiny", "fp32", role="teacher_fp32"),
        entries.of_bundle(tiny_bundle, "tiny", "int8"),
        entries.of_tfidf(train, labels),
    ]
    result = latency.run(models, texts, rounds=2, folder=tmp_path / "run")

    import lilliput

    for precision in ("fp32", "int8"):
        model = lilliput.load(tiny_bundle, precision=precision)
        expected = [answer["label"] for answer in model(texts)]
        seen = result.models[f"tiny {precision}"]
        assert [labels[answer] for answer in seen.answers] == expected
        assert seen.facts["bytes"] == model.opened_bytes
        assert seen.probabilities.sum(axis=1) == pytest.approx([1.0] * 5)
    assert result.labels == tuple(labels)
    assert result.models["TF-IDF + logistic regression"].facts["bytes"] is None
    memory = result.models["tiny int8"].peak_bytes
    assert memory is None or memory > 10_000_000
