"""What every model of a comparison is made of, made once in a run folder: environments, built peers, and entries."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilliput import machine, models
from lilliput.benchmarks import entries
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.peers import plain_onnx_int8
from lilliput.benchmarks.peers.measure import environments
from lilliput.benchmarks.peers.measure.roster import Outside, command
from lilliput.benchmarks.worker import environment
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run, digest, write_json
from lilliput.train import embedded
from lilliput.train.data import Dataset

PLAIN = "plain-int8"
"""The teacher as the libraries' defaults export and quantize it: what speed-ups elsewhere are over."""

TEACHER = "teacher"
BUILD_LIMIT_S = 3600


@dataclass(frozen=True)
class Source:
    """What peers are made of.

    Attributes:
        model: the teacher's folder, as `save_pretrained` writes it.
        facts: ``labels``, ``parameters``, ``max_length``, ``pad_id`` and ``pad_token`` of the teacher.
        train: JSON file of the training texts and their labels.
        identity: changes with model or training texts.
        unsure: the commoner label of the training texts.
    """

    model: Path
    facts: Mapping[str, Any]
    train: Path
    identity: str
    unsure: str

    @classmethod
    def of(cls, run: Run, model: Path, dataset: Dataset) -> Source:
        """The teacher in ``model`` and the training split, which is written to the run folder.

        Raises:
            ConfigError: ``model`` is no fine-tuned model, or answers other labels than the data's.
        """
        facts = facts_of(model)
        if tuple(facts["labels"]) != dataset.label_names:
            names = ", ".join(dataset.label_names)
            raise ConfigError(
                f"--teacher {model}: answers {', '.join(facts['labels'])}, but the data's labels are {names}"
            )
        rows = {"texts": dataset.train.texts, "labels": dataset.train.labels}
        write_json(run.folder / "train.json", rows)
        ((commonest, _),) = Counter(dataset.train.labels).most_common(1)
        identity = digest([models.fingerprint(model), facts, digest(rows)])
        return cls(model.absolute(), facts, run.folder.absolute() / "train.json", identity, facts["labels"][commonest])

    def options(self) -> dict[str, Any]:
        """What every peer is given; each takes what it needs."""
        checkpoint = embedded.fetch_checkpoint()
        found = {"model": self.model, "train": self.train, "checkpoint": checkpoint, "unsure": self.unsure}
        return {**{name: str(value) for name, value in found.items()}, "facts": dict(self.facts)}


def facts_of(model: Path) -> dict[str, Any]:
    """Labels, parameters, length and padding of a fine-tuned folder.

    Raises:
        ConfigError: a file is missing or not what `save_pretrained` writes.
    """
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        tokens = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
        labels = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        length = config.get("lilliput", {}).get("max_length", 128)
        pad = {"pad_id": config["pad_token_id"], "pad_token": tokens["pad_token"]}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--teacher {model}: no fine-tuned model ({error})") from error
    return {"labels": labels, "parameters": parameters_of(model / "model.safetensors"), "max_length": length, **pad}


def parameters_of(weights: Path) -> int:
    """Numbers in a safetensors file."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as tensors:
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118


def entry_of(run: Run, peer: Outside, source: Source, seeds: tuple[int, ...] = ()) -> Entry:
    """Make a peer's environment and what it loads, each once.

    Raises:
        LilliputError: either failed; the message is the reason.
    """
    python, options = environments.interpreter(peer.requirements), source.options()
    if peer.from_graph:
        options["graph"] = str(exported(run, source))
    if peer.built:
        identity = {"source": source.identity, "packages": environments.requirements_of(peer.requirements)}

        def work(folder: Path) -> dict[str, Any]:
            _build(peer, python, options, folder)
            return {"files": sorted(path.name for path in folder.iterdir())}

        options["built"] = str(run.stage(f"{peer.name}-built", identity, work).folder.absolute())
    return peer.entry(python, options, seeds)


def exported(run: Run, source: Source) -> Path:
    """The teacher as PyTorch's own exporter writes it, in fp32."""

    def work(folder: Path) -> dict[str, Any]:
        plain_onnx_int8.export(source.model, folder / "model.onnx")
        return {}

    return run.stage("plain-fp32", {"source": source.identity}, work).folder.absolute() / "model.onnx"


def _build(peer: Outside, python: Path, options: Mapping[str, Any], folder: Path) -> None:
    threads = machine.usable_cores()
    spec = {"peer": peer.module, "threads": threads, "options": options, "folder": str(folder.absolute())}
    write_json(folder / "spec.json", spec)
    try:
        done = subprocess.run(
            [*command(python, "build"), str(folder.absolute() / "spec.json")],
            env={**os.environ, **environment(threads)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=BUILD_LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise LilliputError(f"the peer {peer.name!r} was not built in {BUILD_LIMIT_S // 60} minutes") from None
    (folder / "build.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise LilliputError(f"the peer {peer.name!r} can't be built: {(lines or ['it said nothing'])[-1]}")


def plain(run: Run, source: Source, seeds: tuple[int, ...]) -> Entry:
    """The entry of `PLAIN`, built once."""

    def work(folder: Path) -> dict[str, Any]:
        plain_onnx_int8.build(source.model, folder, max_length=source.facts["max_length"])
        return {}

    stage = run.stage(f"{PLAIN}-built", {"source": source.identity}, work)
    return entries.of_plain_onnx_int8(stage.folder.absolute(), TEACHER, seeds)
