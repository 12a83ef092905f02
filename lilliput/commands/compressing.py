"""Commands that make models smaller: distill, prune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lilliput.flags import (
    AllowOverlap,
    BatchSize,
    ConfigFile,
    Data,
    Device,
    Epochs,
    GradientAccumulation,
    Json,
    LabelColumn,
    LearningRate,
    MaxLength,
    Model,
    Out,
    PairColumn,
    Patience,
    Revision,
    SaveEvery,
    Seed,
    Sign,
    SliceColumn,
    Task,
    TextColumn,
    Warmup,
    WeightDecay,
)
from lilliput.shell import console, finish, flags_of, need_toolkit

Unlabelled = Annotated[
    Path | None, typer.Option(help="Transfer text: .txt (a text a line), CSV, TSV, JSONL or Parquet.")
]
Objective = Annotated[
    list[str] | None,
    typer.Option(help="What is matched, perhaps with a weight, such as relations=0.5; repeat it for more."),
]
Augment = Annotated[int | None, typer.Option(help="Augmented copies of every training text.")]


def distill(
    out: Out = None,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Fine-tuned Hugging Face folder or Hub id; repeat it for an ensemble.")
    ] = None,
    revision: Revision = None,
    student: Annotated[
        str | None, typer.Option(help="layers=2, layers=2,hidden=192,heads=6,ffn=768, conv or static.")
    ] = None,
    initial_model: Annotated[str | None, typer.Option(help="A larger student to start from, not the teacher.")] = None,
    initial_layers: Annotated[str | None, typer.Option(help="Layers of it that it starts from, such as 1,4.")] = None,
    reconstruct: Annotated[
        bool | None,
        typer.Option("--reconstruct/--no-reconstruct", help="Fit a transformer by least squares before it is trained."),
    ] = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    unlabelled: Unlabelled = None,
    teacher_outputs: Annotated[
        Path | None,
        typer.Option(help="Folder of what the teachers say of texts, for several runs; one in --out by default."),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Raw text, to distil an encoder on before any task; repeat it for more."),
    ] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of the corpus' documents kept for evaluation.")] = None,
    task: Task = None,
    objective: Objective = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="A stage before it, such as hidden-states,embeddings,epochs=2; repeat it for more."),
    ] = None,
    mapping: Annotated[
        str | None, typer.Option(help="Teacher layers to learn from: uniform, skip, last, learned, or 1,4.")
    ] = None,
    relation_heads: Annotated[int | None, typer.Option(help="Heads of relations; the teacher's by default.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of soft-targets and decoupled.")] = None,
    hard_label_weight: Annotated[
        float | None, typer.Option(help="Weight of the cross-entropy with the labels.")
    ] = None,
    augment: Augment = None,
    augment_model: Annotated[
        str | None, typer.Option(help="Masked language model that replaces words in the copies.")
    ] = None,
    augment_online: Annotated[
        float | None, typer.Option(help="Share of the texts changed anew in every step, read by the teacher then.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout of the student.")] = None,
    train_embeddings: Annotated[bool | None, typer.Option(help="Train the word embeddings too.")] = None,
    rounding: Annotated[
        str | None, typer.Option(help="Train under the rounding of int8, int8-static, int8-weights or int4.")
    ] = None,
    target_cpu: Annotated[
        str | None, typer.Option(help="Processor of --rounding int8: auto (this one), x86, x86-vnni or arm.")
    ] = None,
    block_size: Annotated[int | None, typer.Option(help="Weights that share a scale in --rounding int4.")] = None,
    epochs: Epochs = None,
    patience: Patience = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    gradient_accumulation: GradientAccumulation = None,
    warmup: Warmup = None,
    weight_decay: WeightDecay = None,
    max_length: MaxLength = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Distil a student from a teacher, on labelled, unlabelled and augmented text.

    Example: `lilliput distill --teacher runs/teacher/teacher --student layers=2 --data reviews.csv --out runs/small`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.compress import distill as run
    from lilliput.config import DistillConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = run(build(DistillConfig, config, **flags), terminal.progress)
    if "fidelity" not in result:
        finish(result, json_file, f"held-out loss {result['loss']:.4f}; saved in {result['folder']}")
        return
    seen = result["fidelity"]
    line = f"test {seen['metric']} {seen['student']['value']:.4f}, the teacher's {seen['teacher']['value']:.4f}"
    finish(result, json_file, f"{line}; saved in {result['folder']}")


def prune(
    out: Out = None,
    model: Model = None,
    revision: Revision = None,
    speedup: Annotated[float | None, typer.Option(help="Times faster than the model, end to end.")] = None,
    latency: Annotated[str | None, typer.Option(help="Of a text, end to end, such as 1.5ms.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Share of the parameters that stays.")] = None,
    size: Annotated[str | None, typer.Option(help="Of all files that an app needs, such as 5MB.")] = None,
    flops: Annotated[float | None, typer.Option(help="Share of the encoder's multiplications that stays.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Tokens that stay, the most frequent ones.")] = None,
    per_layer: Annotated[
        bool | None, typer.Option("--per-layer", help="Every layer may get a shape of its own; loads with lilliput.")
    ] = None,
    importance: Annotated[
        str | None, typer.Option(help="magnitude, taylor, fisher, block-fisher or reconstruction.")
    ] = None,
    calibration: Annotated[int | None, typer.Option(help="Training texts that the pruning looks at.")] = None,
    reconstruct: Annotated[
        bool | None, typer.Option("--reconstruct/--no-reconstruct", help="Fit what remains by least squares.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or int8: whose latency or size is meant.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the engine whose latency is measured.")] = None,
    lengths: Annotated[
        str | None, typer.Option(help="Tokens of the texts that are timed, such as 16,32; the data's by default.")
    ] = None,
    recover: Annotated[
        bool | None, typer.Option("--recover", help="Distil from the unpruned model afterwards.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Prunings on the way to the target, each with recovery.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Model to recover from; the unpruned one by default.")] = None,
    modeling_file: Annotated[
        bool | None,
        typer.Option("--modeling-file", help="Also write code that loads a per-layer model without lilliput."),
    ] = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    unlabelled: Unlabelled = None,
    task: Task = None,
    objective: Objective = None,
    augment: Augment = None,
    epochs: Epochs = None,
    patience: Patience = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    gradient_accumulation: GradientAccumulation = None,
    warmup: Warmup = None,
    weight_decay: WeightDecay = None,
    max_length: MaxLength = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Prune a fine-tuned model until it meets a target: heads, neurons, dimensions, layers, vocabulary.

    Example: `lilliput prune --model runs/teacher/teacher --data reviews.csv --speedup 2 --out runs/pruned`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.compress import prune as run
    from lilliput.config import PruneConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = run(build(PruneConfig, config, **flags), terminal)
    finish(result, json_file, f"{result['summary']}; saved in {result['folder']}")


def quantize(
    out: Out = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="A bundle with an fp32 graph.")] = None,
    precision: Annotated[str | None, typer.Option(help="int8, int8-static, int8-weights, int4, fp16 or bf16.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Points of the validation metric that may be lost.")] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="The upper end of the drop's 95% interval must meet it too.")
    ] = None,
    min_agreement: Annotated[float | None, typer.Option(help="Share of labels that must be those of fp32.")] = None,
    sensitivity: Annotated[
        bool | None, typer.Option("--sensitivity", help="Rank the layers even where no gate fails.")
    ] = None,
    target_cpu: Annotated[
        str | None, typer.Option(help="Processor that int8 is for: auto (this one), x86, x86-vnni or arm.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Range of an activation, for int8-static: minmax, percentile or entropy.")
    ] = None,
    calibration_texts: Annotated[
        int | None, typer.Option(help="Training texts that show how large activations are.")
    ] = None,
    block_size: Annotated[int | None, typer.Option(help="Weights that share a scale, for int8-weights, int4.")] = None,
    gate_texts: Annotated[int | None, typer.Option(help="Transfer texts that the gates read.")] = None,
    train: Annotated[
        int | None, typer.Option(help="Epochs of training under the rounding, taught by the fp32 model.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of --train.")] = None,
    sign: Sign = None,
    device: Device = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    seed: Seed = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Quantize a bundle; layers that cost too much accuracy stay in float32, and failing the gates is an error.

    Example: `lilliput quantize --model bundles/small --data reviews.csv --precision int8-static --out bundles/fast`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput import quantizing
    from lilliput.compress.quantization import lines
    from lilliput.config import QuantizeConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = quantizing.quantize(build(QuantizeConfig, config, **flags), terminal)
    finish(result, json_file, "\n".join([*lines(result), f"bundle written to {result['folder']}"]))
