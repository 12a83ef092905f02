"""Masked language models: loaded from a checkpoint, or made anew in a given shape.

The head predicts a token from the hidden state at its place; its output table is the table of word embeddings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lilliput import encoder, models
from lilliput.errors import ConfigError, ModelError

SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "base": (12, 768)}
"""Layers and width of the compact BERT models (Turc et al. 2019); a head is 64 wide, the FFN four times the width."""

_HEAD, _FFN = 64, 4


def load_masked_lm(source: str | Path, revision: str | None = None) -> Any:
    """The masked language model of a folder or Hub id; its head is fresh where the checkpoint has none.

    A fresh head needs the table of word embeddings only, which it shares, and a transform of the hidden states.

    Raises:
        ModelError: missing files or weights of the encoder, or an unsupported architecture.
    """
    from transformers import AutoModelForMaskedLM

    models._check_folder(source)
    models._load_config(source, revision)  # refuses what is not supported
    model, unfit = models._load(AutoModelForMaskedLM, source, revision)
    models._refuse(source, {name for name in unfit if name.startswith(f"{model.base_model_prefix}.")})
    return model


def new_masked_lm(architecture: str, tokenizer: Any, max_length: int) -> Any:
    """A masked language model with random weights, drawn from torch's global generator.

    Args:
        architecture: a name of ``SHAPES``, which is a BERT that reads ``max_length`` tokens, or a config.json.
        tokenizer: decides the size of the vocabulary and the padding token.

    Raises:
        ConfigError: no such name or file, or a file that describes no model.
        ModelError: a file of an unsupported architecture.
    """
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    values = _values_of(architecture, max_length)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    values |= {name: number for name, number in special.items() if number is not None}
    values |= {"vocab_size": vocabulary_of(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    values |= {"tie_word_embeddings": True}
    kind = values.pop("model_type")
    try:
        return AutoModelForMaskedLM.from_config(AutoConfig.for_model(kind, **values), dtype=torch.float32)
    except Exception as error:  # whatever a number out of its range leads to, here or in the layers
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"--architecture {architecture}: describes no model: {message}") from error


def _values_of(architecture: str, max_length: int) -> dict[str, Any]:
    """The values of a configuration, ``model_type`` among them."""
    if architecture in SHAPES:
        layers, hidden = SHAPES[architecture]
        return {
            "model_type": "bert",
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": hidden // _HEAD,
            "intermediate_size": hidden * _FFN,
            "max_position_embeddings": max_length,
        }
    try:
        values = json.loads(Path(architecture).read_text(encoding="utf-8"))
        kind = values["model_type"]
    except OSError as error:
        raise ConfigError(
            f"--architecture {architecture}: neither one of {', '.join(SHAPES)} nor a config.json ({error.strerror})"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--architecture {architecture}: no config.json: it has no model_type") from error
    encoder.check_supported(kind, architecture)
    of_a_checkpoint = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "auto_map")
    return {name: value for name, value in values.items() if name not in of_a_checkpoint}


def vocabulary_of(tokenizer: Any) -> int:
    """Rows that a table of word embeddings needs for ``tokenizer``."""
    return max(tokenizer.get_vocab().values()) + 1


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """Raise :class:`ModelError` where ``tokenizer`` lacks a token that masked language modelling needs."""
    needed = {"CLS": tokenizer.cls_token_id, "SEP": tokenizer.sep_token_id}
    needed |= {"MASK": tokenizer.mask_token_id, "PAD": tokenizer.pad_token_id}
    missing = [name for name, number in needed.items() if number is None]
    if missing:
        raise ModelError(f"{where}: its tokenizer has no {', '.join(missing)} token, which masked language models need")


def check_vocabulary(model: Any, tokenizer: Any, where: str) -> None:
    """Raise :class:`ModelError` where ``tokenizer`` makes ids that ``model`` has no word embedding for."""
    rows, needed = encoder.word_embeddings_of(model).num_embeddings, vocabulary_of(tokenizer)
    if needed > rows:
        raise ModelError(f"--tokenizer {where}: has {needed:,} tokens, the model knows {rows:,}; use the model's own")
