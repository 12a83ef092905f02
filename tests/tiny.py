"""A tiny random BERT classifier, its tokenizer and its bundle, for every test that needs a model and not a good one."""

from __future__ import annotations

import logging
import string
import warnings
from pathlib import Path
from typing import Any

from lilliput import bundle
from lilliput.guards import graphs as onnx_graphs

LABELS = ("negative", "neutral", "positive")
MAX_LENGTH = 24
HIDDEN = 32
LAYERS = 2
WORDS = (
    (
        "a an the film movie joy from start to finish was is not good bad great awful ##ly ##ing ##ed un it this one I "
        "hello world caf ##e na ##ive strasse very long text"
    )
    .lower()
    .split()
)
SCRIPTS = "漢字日本語中文한글ひらがなカタカナمرحبابالعالمשלוםहिन्दीभाषाภาษาไทยприветñøßαβγσς😀👩👧🚀❤"
SMOKE_TEXTS = ("a joy from start to finish", "an awful movie", "漢字 and مرحبا 😀", "", "not good, not bad!")


def vocabulary() -> dict[str, int]:
    """Special tokens, words, and every character of several scripts, each also as the inside of a word."""
    characters = sorted(set(string.ascii_lowercase + string.digits + string.punctuation + SCRIPTS))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *characters, *("##" + c for c in characters)]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def tokenizer() -> Any:
    """The fast tokenizer of transformers over `vocabulary`, which lower-cases and strips accents as BERT's does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary()
    built = Tokenizer(models.WordPiece(words, unk_token="[UNK]", max_input_chars_per_word=100))
    built.normalizer = normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    built.post_processor = processors.BertProcessing(("[SEP]", words["[SEP]"]), ("[CLS]", words["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def model() -> Any:
    """A random BERT with two layers of width 32, in evaluation mode, the same one on every call."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary()),
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            intermediate_size=2 * HIDDEN,
            max_position_embeddings=MAX_LENGTH,
            initializer_range=0.5,  # wide enough for answers that differ between texts
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
        return BertForSequenceClassification(config).eval()


def export(network: Any, path: Path) -> None:
    """Write ``network`` as a single-file ONNX graph with free batch size and sequence length."""
    import torch

    inputs = ("input_ids", "attention_mask", "token_type_ids")
    example = {name: torch.ones(2, 7, dtype=torch.int64) for name in inputs}
    free = {0: torch.export.Dim("batch_size"), 1: torch.export.Dim("sequence_length")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            kwargs=example,
            f=str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes=dict.fromkeys(inputs, free),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def quantize(source: Path, target: Path) -> None:
    """Write the graph ``source`` with dynamic int8 weights, one scale a channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it suggests a pre-processing step on the root logger
    try:
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)


def describe(path: Path) -> dict[str, Any]:
    """Opset and operators of a graph; of a file that is none, what a manifest could say."""
    try:
        graph = onnx_graphs.read(path.read_bytes())
    except onnx_graphs.Malformed:
        return {"opset": 18, "operators": {"MatMul": 1}}
    return {"opset": graph.opsets.get("", 18), "operators": graph.operators}


def manifest_fields(staging: Path, **changes: Any) -> dict[str, Any]:
    """Fields of a manifest that fit `build`; no smoke predictions."""
    graphs = {"fp32": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
    fields: dict[str, Any] = {
        "name": "tiny",
        "task": "classification",
        "architecture": "bert",
        "labels": LABELS,
        "max_length": MAX_LENGTH,
        "inputs": ("input_ids", "attention_mask", "token_type_ids"),
        "graphs": {
            precision: {"file": file, **describe(staging / file), "disabled_optimizers": []}
            for precision, file in graphs.items()
            if (staging / file).exists()
        },
        "settings": {},
        "parameters": 1000,
        "provenance": {"model": "random", "licence": "none"},
        "recipe": {"epochs": 0, "rate": 0.1},
        "seeds": (0,),
        "versions": {"lilliput": "test"},
        "smoke": [],
    }
    return {**fields, **changes}


def build(folder: Path) -> Path:
    """Make the whole bundle at ``folder``: weights, tokenizer, both graphs, smoke predictions, manifest."""
    from lilliput.runtime import load

    staging = folder.with_name(f".{folder.name}.staging")
    (staging / "onnx").mkdir(parents=True)
    network = model()
    network.save_pretrained(staging)
    tokenizer().save_pretrained(staging)
    (staging / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    export(network, staging / "onnx/model.onnx")
    quantize(staging / "onnx/model.onnx", staging / "onnx/model_quantized.onnx")
    bundle.write_manifest(staging, **manifest_fields(staging))
    smoke = [
        {"text": text, "precision": precision, "logits": row.tolist()}
        for precision in ("fp32", "int8")
        for text, row in zip(
            SMOKE_TEXTS, load(staging, precision=precision, workers=1).logits(list(SMOKE_TEXTS)), strict=True
        )
    ]
    bundle.write_manifest(staging, **manifest_fields(staging, smoke=smoke))
    bundle.commit(staging, folder)
    return folder
