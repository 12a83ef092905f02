"""Masked language modelling on raw text, from scratch or going on from a checkpoint (Devlin et al. 2019, BERT).

corpus ──> blocks of tokens on disk ──> corrupted anew at every step ──> cross-entropy of the tokens chosen
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lilliput import encoder, language_models, models, processes
from lilliput.config import PretrainConfig
from lilliput.errors import DataError
from lilliput.runs import Run, Stage, digest, write_json
from lilliput.train import finetuning, loop, packing, precision
from lilliput.train.corpus import Corpus
from lilliput.train.evaluate import Progress
from lilliput.train.masking import MaskedLanguageModelling, Masking, masked_logits

EVALUATION_SEED = 0
"""Of the masking of held-out blocks: one and the same in every epoch and run."""
EVALUATION_TOKENS = 8192
"""Read at a time."""


def pretrain(config: PretrainConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Train a masked language model on ``config.corpus`` and save it to ``config.out/model``, a Hugging Face folder.

    The corpus as blocks of tokens stays in ``config.out/corpus``, for runs that go on or train on it again. Interrupted
    and called again, it goes on from the last checkpoint; called once more, it returns the finished result.

    Returns:
        The stage's result: on held-out documents ``loss_before`` and after, ``loss``; ``perplexity``, its exponential;
        ``masked_accuracy``, the share of masked tokens that the model ranks first; and ``unigram_accuracy``, what
        always answering the training part's most frequent token gets.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
        TrainingError: the loss became NaN or infinite.
    """
    corpus = Corpus(config)
    model, tokenizer = _start(config)
    masking = Masking(tokenizer, config.mask, config.whole_words)
    named = {"corpus", "model", "revision", "architecture", "tokenizer"}  # what is there counts, not its name
    recipe = config.model_dump(mode="json", exclude={"out", "save_every", *named})
    with Run(config.out, "pretrain") as run:
        packed = _packed(run, corpus, tokenizer, config, progress)
        stage = run.stage(
            "model",
            {**recipe, "start": _fingerprint(config)},
            lambda folder: _pretrain(folder, model, tokenizer, masking, packed, config, progress),
            inputs=[packed],
            config=config.model_dump(mode="json"),
        )
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


def _start(config: PretrainConfig) -> tuple[Any, Any]:
    """The model as it is before training, and its tokenizer."""
    source = finetuning.model_source(config.model) if config.model else None
    where = config.tokenizer or source
    assert where is not None  # PretrainConfig asks for a tokenizer where there is no model
    tokenizer = models.load_tokenizer(where, None if config.tokenizer else config.revision)
    language_models.check_tokenizer(tokenizer, str(where))
    torch.manual_seed(config.seed)  # weights that no checkpoint has
    if source is not None:
        model = language_models.load_masked_lm(source, config.revision)
    else:
        model = language_models.new_masked_lm(str(config.architecture), tokenizer, config.max_length)
    language_models.check_vocabulary(model, tokenizer, str(where))
    models.check_length(model, config.max_length)
    tokenizer.model_max_length = encoder.longest_input(model)
    return model, tokenizer


def _fingerprint(config: PretrainConfig) -> str:
    """What identifies the weights before training, but for the seed."""
    if config.model is not None:
        return models.fingerprint(finetuning.model_source(config.model), config.revision)
    file = Path(str(config.architecture))
    return digest(file.read_text(encoding="utf-8") if file.is_file() else config.architecture)


def _packed(run: Run, corpus: Corpus, tokenizer: Any, config: PretrainConfig, progress: Progress | None) -> Stage:
    """The stage that holds the corpus as blocks of tokens."""
    identity = {
        "corpus": corpus.fingerprint(),
        "tokenizer": digest([tokenizer.backend_tokenizer.to_str(), tokenizer.special_tokens_map]),
        "max_length": config.max_length,
    }

    def work(folder: Path) -> dict[str, Any]:
        return processes.on_main(lambda: packing.pack(corpus, tokenizer, config.max_length, folder, progress))

    return run.stage("corpus", identity, work)


def _pretrain(
    folder: Path,
    model: Any,
    tokenizer: Any,
    masking: Masking,
    packed: Stage,
    config: PretrainConfig,
    progress: Progress | None,
) -> dict[str, Any]:
    validate = HeldOut(
        packing.blocks_of(packed.folder / packing.HELD_OUT),
        masking,
        tokenizer.pad_token_id,
        packed.result["most_frequent_token"],
    )
    before = _before(folder, model, validate, config)
    model, best = loop.fit(
        model,
        tokenizer,
        packing.blocks_of(packed.folder / packing.TRAINING),
        config,
        folder,
        validate,
        objective=MaskedLanguageModelling(masking, tokenizer.pad_token_id),
        collate=packing.collate,
        max_steps=config.max_steps,
        progress=progress,
        what="pretraining",
    )
    models.save(model, tokenizer, folder)
    return {
        "started_from": config.model or config.architecture,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "loss_before": before["loss"],
        **{name: best[name] for name in ("loss", "perplexity", "masked_accuracy", "unigram_accuracy", "masked_tokens")},
        "best_epoch": best["epoch"],
        "best_step": best["step"],
        **packed.result,
    }


def _before(folder: Path, model: Any, validate: HeldOut, config: PretrainConfig) -> dict[str, float]:
    """The measurement before the first step; a resumed run finds it on disk."""
    file = folder / "checkpoints" / "before.json"
    if processes.on_main(lambda: not file.exists()):
        found = validate(model.to(loop.pick_device(config.device)))
        write_json(file, found)
    return processes.on_main(lambda: json.loads(file.read_text(encoding="utf-8")))


class HeldOut:
    """Measures a masked language model on held-out blocks, all of them corrupted by one fixed masking.

    Args:
        blocks: see :func:`lilliput.train.packing.blocks_of`.
        most_frequent_token: what a model that knows no context answers.
    """

    def __init__(self, blocks: datasets.Dataset, masking: Masking, pad_id: int, most_frequent_token: int) -> None:
        self.blocks = blocks
        self.masking = masking
        self.pad_id = pad_id
        self.most_frequent_token = most_frequent_token

    @torch.inference_mode()
    def __call__(self, model: Any) -> dict[str, float]:
        """``loss`` (mean cross-entropy of the ``masked_tokens``), ``perplexity``, ``masked_accuracy``,
        ``unigram_accuracy``, and as ``score`` the negative loss.

        Raises:
            DataError: so little text is held out that none of it is masked.
        """
        device = next(model.parameters()).device
        bf16 = precision.bf16_is_fast(device)
        was_training = model.training
        model.eval()
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        loss, right, frequent, count = 0.0, 0, 0, 0
        length = self.blocks.features["input_ids"].length
        for batch in self.blocks.iter(max(1, EVALUATION_TOKENS // length)):
            ids = torch.from_numpy(batch["input_ids"].astype(np.int64))  # [B, T]
            corrupted, labels = self.masking(ids, generator)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits, tokens = masked_logits(model, corrupted.to(device), labels.to(device), self.pad_id)
            loss += float(cross_entropy(logits, tokens, reduction="sum"))
            right += int((logits.argmax(dim=-1) == tokens).sum())
            frequent += int((tokens == self.most_frequent_token).sum())
            count += len(tokens)
        model.train(was_training)
        if not count:
            raise DataError("the held-out documents are too short for one masked token; use a larger --held-out")
        return {
            "score": -loss / count,
            "loss": loss / count,
            "perplexity": math.exp(loss / count),
            "masked_accuracy": right / count,
            "unigram_accuracy": frequent / count,
            "masked_tokens": count,
        }
