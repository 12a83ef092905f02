"""Kill a training and resume it: ``python -m lilliput.benchmarks.training.resume --out FILE.json``.

A tiny BERT is trained with dropout, without interruption. Then, twenty times, the same training is started in a fresh
process, killed with SIGKILL (half of the times while it saves a checkpoint, else anywhere), and resumed in another
process. It counts how often the last weights, the best weights and the log of losses are those of the uninterrupted
training, bit for bit.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.errors import TrainingError

KILLS, IN_SAVE = 20, 8
"""How often it is killed, and how often at least while it saves."""
WORDS = [f"word{number}" for number in range(200)]
STEPS, SAVE_EVERY = 64, 4
POLL = 0.0005
"""Seconds between two looks at the training to be killed."""

# Forked from a server that has imported torch and done nothing with it: fresh, and there at once.
PROCESSES = multiprocessing.get_context("forkserver")


def train(folder: Path) -> None:
    """Train, or go on training, the tiny BERT in ``folder``."""
    import torch
    from rich.console import Console
    from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding

    from lilliput.config import LoopConfig, build
    from lilliput.terminal import quiet_libraries
    from lilliput.train import loop

    quiet_libraries(Console(quiet=True))
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(4, 16))) for _ in range(144)]
    labels = [int("1" in text) for text in texts]
    tokenizer = _tokenizer()
    data = loop.encode(texts, tokenizer, 16, labels=labels)
    held_out = DataCollatorWithPadding(tokenizer)([data[number] for number in range(128, 144)])
    inputs = {name: held_out[name] for name in ("input_ids", "attention_mask", "labels")}

    def validate(model: Any) -> dict[str, float]:
        with torch.no_grad():
            loss = model.eval()(**inputs).loss
        model.train()
        return {"score": -float(loss)}

    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            max_position_embeddings=16,
        )
    )
    config = build(
        LoopConfig, epochs=4, batch_size=8, learning_rate=1e-3, save_every=SAVE_EVERY, max_length=16, device="cpu"
    )
    loop.fit(model, tokenizer, data.select(range(128)), config, folder, validate)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


def outcome(folder: Path) -> dict[str, Any]:
    """What a finished training leaves: hashes of the last and the best weights, and the log without its times."""
    from lilliput.train import checkpoints

    found = {"last": checkpoints.newest(folder / "checkpoints"), "best": checkpoints.best(folder / "checkpoints")}
    if found["last"] is None or found["best"] is None:
        raise TrainingError(f"{folder}: no training has ended here")
    weights = {
        kind: hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
        for kind, path in found.items()
        if path
    }
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    log = [{key: value for key, value in line.items() if key != "time"} for line in lines if line["event"] != "resumed"]
    return {**weights, "best_step": found["best"].name, "log": log}


def run(folder: Path) -> None:
    """Train to the end in a fresh process."""
    process = PROCESSES.Process(target=train, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise TrainingError(f"{folder}: training ended with exit code {process.exitcode}")


def kill(folder: Path, draw: random.Random, in_save: bool) -> dict[str, Any]:
    """Start training in a fresh process and kill it; where that was, once it succeeds."""
    from lilliput.train import checkpoints

    log, writing = folder / "log.jsonl", folder / "checkpoints" / checkpoints.WRITING

    def lines() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def is_past(line: int) -> bool:
        return lines() > line

    while True:
        shutil.rmtree(folder, ignore_errors=True)  # of a training that was faster than its killer
        process = PROCESSES.Process(target=train, args=(folder,))
        process.start()
        _wait(functools.partial(is_past, draw.randrange(STEPS - SAVE_EVERY)), process)
        if in_save:
            _wait(lambda: any(writing.glob("checkpoint-*")), process)
        time.sleep(draw.uniform(0, 0.02 if in_save else 0.1))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            return {"lines_of_log": lines(), "in_save": any(writing.glob("checkpoint-*"))}
        if process.exitcode:
            raise TrainingError(f"{folder}: training ended with exit code {process.exitcode}")


def _wait(until: Callable[[], bool], process: Any) -> None:
    while process.is_alive() and not until():
        time.sleep(POLL)


def measure(work: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """Kill ``kills`` trainings and resume them: where each was killed, and whether it ended as it should have."""
    draw = random.Random(seed)
    run(work / "whole")
    expected = outcome(work / "whole")
    found = []
    for number in range(kills):
        folder = work / str(number)
        killed = kill(folder, draw, in_save=number % 2 == 0)
        run(folder)
        found.append({**killed, "identical": outcome(folder) == expected})
    return found


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    kills: Annotated[int, typer.Option(help="Trainings to kill.")] = KILLS,
    seed: Annotated[int, typer.Option(help="Of where they are killed.")] = 0,
) -> None:
    """Measure and write the piece."""
    PROCESSES.set_forkserver_preload(["lilliput.train.loop"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), kills, seed)
        in_save = sum(one["in_save"] for one in found)
        if in_save < IN_SAVE * kills // KILLS:
            raise TrainingError(f"only {in_save} of {kills} trainings were killed while they saved; try another --seed")
    except TrainingError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    identical = sum(one["identical"] for one in found)
    figure = pieces.Figure("train.resume_identical", identical, f"of {kills}", n=kills, seeds=(seed,))
    pieces.write(out, [figure], killed_in_save=in_save, kills=found)
    typer.echo(f"{identical} of {kills} ended bit for bit as the uninterrupted one; {in_save} were killed in a save")


if __name__ == "__main__":
    typer.run(main)
