"""Time and memory of a distillation: ``python -m lilliput.benchmarks.distillation.budget --out FILE.json``.

Minutes are those of ``lilliput distill`` from start to end, in a fresh process and a fresh folder, for the 2-layer
student straight from its teacher: what the teacher says of the texts is computed too. Memory is the peak of a
distillation from a tiny teacher with ten times the unlabelled lines, over that with a tenth of them; both take the same
number of steps.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
import yaml

from lilliput.benchmarks import commands, pieces
from lilliput.benchmarks.folds import TEACHER
from lilliput.benchmarks.training import teachers as measured_teachers
from lilliput.benchmarks.worker import peak_memory
from lilliput.config import DistillConfig
from lilliput.errors import LilliputError

QUICK: Mapping[str, Any] = {"student": "layers=2", "augment": 1, "epochs": 2, "learning_rate": 3e-4}
"""The 2-layer student for somebody who has no hour: it begins near its teacher, by least squares."""
FACTOR = 10
WORDS = [f"{first}{second}{third}" for first in "bdfklm" for second in "aeiou" for third in "nprst"]
LABELS = ("negative", "positive")


def minutes(teacher: Path, fold: int, work: Path) -> tuple[float, dict[str, Any]]:
    """Minutes of the distillation with the settings ``QUICK``, and its result."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        config = DistillConfig(teacher=(str(teacher),), seed=fold, out=Path(folder) / "run", **QUICK)
        began = time.monotonic()
        result = commands.run(config)
        return (time.monotonic() - began) / 60, result


def sentences(count: int, seed: int) -> Iterator[str]:
    """Different sentences of made-up words."""
    draw = Random(seed)
    for number in range(count):
        yield f"{' '.join(draw.choices(WORDS, k=9))} {seed} {number}"


def tiny_teacher(folder: Path) -> Path:
    """Save a random BERT of width 32 that knows the words."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    known = [*names.values(), *WORDS, *"0123456789", *(f"##{digit}" for digit in range(10))]
    vocabulary = {word: number for number, word in enumerate(known)}
    words = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    return folder


def configured(folder: Path, lines: int, **settings: Any) -> DistillConfig:
    """A distillation from the tiny teacher with so many unlabelled lines; data, teacher and run are in ``folder``."""
    data, unlabelled = folder / "data", folder / "unlabelled.txt"
    data.mkdir()
    for seed, split in enumerate(("train", "validation", "test"), start=1):
        rows = (f"{text},{LABELS[number % 2]}\n" for number, text in enumerate(sentences(100, seed)))
        (data / f"{split}.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    with unlabelled.open("w", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in sentences(lines, 0))
    return DistillConfig(
        teacher=(str(tiny_teacher(folder / "teacher")),),
        student="layers=1",
        data=str(data),
        unlabelled=unlabelled,
        max_length=32,
        save_every=100_000,
        device="cpu",
        out=folder / "run",
        **settings,
    )


def peak_bytes(lines: int, epochs: int, batch_size: int) -> int | None:
    """Peak memory of a fresh process that distils with so many unlabelled lines; None where the system won't say."""
    with tempfile.TemporaryDirectory() as name:
        config = configured(Path(name), lines, epochs=epochs, batch_size=batch_size)
        peak = Path(name) / "peak.json"
        process = multiprocessing.get_context("spawn").Process(target=distil, args=(config.to_yaml(), peak))
        process.start()
        process.join()
        if process.exitcode:
            raise LilliputError(f"the distillation with {lines:,} lines ended with exit code {process.exitcode}")
        found: int | None = json.loads(peak.read_text(encoding="utf-8"))
        return found


def distil(settings: str, peak: Path) -> None:
    """Distil in this process, and write its peak memory to ``peak``."""
    from rich.console import Console

    from lilliput.compress import distill
    from lilliput.terminal import quiet_libraries

    quiet_libraries(Console(quiet=True))
    distill(DistillConfig(**yaml.safe_load(settings)))
    peak.write_text(json.dumps(peak_memory()), encoding="utf-8")


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data, for the minutes.")] = 0,
    lines: Annotated[int, typer.Option(help=f"Unlabelled lines; then {FACTOR} times as many.")] = 20_000,
    batch_size: Annotated[int, typer.Option(help="Of the distillations whose memory is measured.")] = 256,
    work: Annotated[Path, typer.Option(help="Folder of the timed distillation.")] = Path("runs"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Measure both and write the piece."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        measured_teachers.train(TEACHER, fold, teachers)
        took, result = minutes(teachers / f"{TEACHER}-{fold}" / "teacher", fold, work)
        found = [pieces.Figure("distill.l2_minutes", took, "minutes", n=1, seeds=(fold,))]
        accuracy = {who: result["fidelity"][who] for who in ("student", "teacher")}
        about = {"settings": dict(QUICK), "texts": result["texts"], "accuracy": accuracy}
        pieces.write(out, found, **about)  # what comes now may be interrupted
        # A tenth of the lines is read ten times as often.
        schedules = ((lines, FACTOR), (FACTOR * lines, 1))
        peaks = {count: peak_bytes(count, epochs, batch_size) for count, epochs in schedules}
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    few, many = peaks.values()
    growth = many / few if few and many else None
    found.append(pieces.Figure("distill.memory_growth_10x", growth, "times", n=1, seeds=(0,)))
    a_line = (many - few) / ((FACTOR - 1) * lines) if few and many else None
    memory = {"peak_bytes": {str(count): peak for count, peak in peaks.items()}, "bytes_a_line": a_line}
    pieces.write(out, found, **about, memory=memory)
    typer.echo(f"{took:.1f} minutes; {FACTOR} times the lines take {growth or float('nan'):.3f} times the memory")


if __name__ == "__main__":
    typer.run(main)
