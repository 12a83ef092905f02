"""Commands that train: tokenizer train, pretrain, finetune."""

from __future__ import annotations

from typing import Annotated

import typer

from lilliput.flags import (
    AllowOverlap,
    BatchSize,
    ConfigFile,
    Corpus,
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
    SliceColumn,
    Task,
    TextColumn,
    Warmup,
    WeightDecay,
)
from lilliput.shell import console, finish, flags_of, need_toolkit


def train_tokenizer(
    out: Out = None,
    corpus: Corpus = None,
    text_column: TextColumn = None,
    vocab_size: Annotated[int | None, typer.Option(help="Tokens of the vocabulary, special ones included.")] = None,
    min_frequency: Annotated[int | None, typer.Option(help="Occurrences that a token needs.")] = None,
    cased: Annotated[bool | None, typer.Option("--cased", help="Keep capitals and accents.")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of the documents that the report is made on.")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Train a WordPiece tokenizer, as BERT has it, and report on text that it has not seen.

    Example: `lilliput tokenizer train --corpus texts.txt --vocab-size 8000 --out runs/tokenizer`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.config import TokenizerConfig, build
    from lilliput.terminal import Terminal
    from lilliput.train import train_tokenizer as run

    with Terminal(console()) as terminal:
        result = run(build(TokenizerConfig, config, **flags), terminal.progress)
    split = f"{result['tokens_per_word']:.2f} tokens a word, {result['unknown_rate']:.2%} unknown"
    finish(result, json_file, f"{result['vocabulary']:,} tokens; {split}; saved in {result['folder']}")


def pretrain(
    out: Out = None,
    corpus: Corpus = None,
    text_column: TextColumn = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Go on from this folder or Hub id, or 'embedded'."),
    ] = None,
    revision: Revision = None,
    architecture: Annotated[
        str | None, typer.Option(help="From scratch: tiny, mini, small, base, or a config.json.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Tokenizer folder or Hub id; the model's by default.")] = None,
    whole_words: Annotated[bool | None, typer.Option("--whole-words", help="Mask whole words.")] = None,
    mask: Annotated[float | None, typer.Option(help="Share of the tokens that the model must predict.")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of the documents kept for evaluation.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Steps after which the schedule and the training end.")] = None,
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
    """Pretrain by masked language modelling, from scratch or continued from a checkpoint (domain adaptation).

    Example: `lilliput pretrain --model embedded --corpus reviews.txt --out runs/adapted`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.config import PretrainConfig, build
    from lilliput.terminal import Terminal
    from lilliput.train import pretrain as run

    with Terminal(console()) as terminal:
        result = run(build(PretrainConfig, config, **flags), terminal.progress)
    line = f"held-out perplexity {result['perplexity']:.1f}, {result['masked_accuracy']:.1%} of masked tokens right"
    finish(result, json_file, f"{line}; saved in {result['folder']}")


def finetune(
    out: Out = None,
    model: Model = None,
    revision: Revision = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    metric: Annotated[str | None, typer.Option(help="Validation metric that chooses the weights.")] = None,
    class_weights: Annotated[str | None, typer.Option(help="none or balanced.")] = None,
    epochs: Epochs = None,
    patience: Patience = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    gradient_accumulation: GradientAccumulation = None,
    warmup: Warmup = None,
    weight_decay: WeightDecay = None,
    max_length: MaxLength = None,
    save_every: SaveEvery = None,
    consistency: Annotated[
        float | None, typer.Option(help="Weight of the agreement of two passes with different dropout (R-Drop).")
    ] = None,
    layer_decay: Annotated[
        float | None, typer.Option(help="Factor on the learning rate from each layer to the one below it.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Settings to try on validation beforehand.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Several seeds, such as 1,2,3.")] = None,
    seed: Seed = None,
    device: Device = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Fine-tune a teacher; the best weights are chosen on validation, the test split is read once.

    Example: `lilliput finetune --data reviews.csv --out runs/teacher`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.config import FinetuneConfig, build
    from lilliput.terminal import Terminal
    from lilliput.train import finetune as run
    from lilliput.train.seeds import in_words

    with Terminal(console()) as terminal:
        result = run(build(FinetuneConfig, config, **flags), terminal.progress)
    finish(result, json_file, f"{in_words(result)}; saved in {result['folder']}")
