"""Tiny random classifiers of every architecture, saved as plain transformers saves them, and a tiny data set."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
LABELS = ("negative", "positive")
POSITIONS = 40
SUBJECTS = ("the film", "a movie", "this one", "漢字 film", "مرحبا film", "film 😀", "it", "the joy")
JUDGEMENTS = {"positive": ("great", "good", "a joy", "not bad"), "negative": ("bad", "awful", "not good", "un good")}
ENDINGS = ("", "from start to finish", "!", "?", "in 日本語", "naïve café", "שלום", "👩‍👧 🚀", "very long text")


def corpus() -> dict[str, list[str]]:
    """Distinct texts of each label, in several scripts."""
    return {
        label: [" ".join(filter(None, parts)) for parts in itertools.product(SUBJECTS, ("is", "was"), words, ENDINGS)]
        for label, words in JUDGEMENTS.items()
    }


def rows(count: int, start: int = 0) -> list[tuple[str, str]]:
    """``count`` rows of text and label, the labels taking turns; rows of different numbers differ."""
    texts = corpus()
    labels = sorted(texts)
    # 97 and the number of texts have no common factor, so that neighbouring rows have little in common.
    return [
        (texts[label][97 * number % len(texts[label])], label)
        for number, label in ((i // 2, labels[i % 2]) for i in range(start, start + count))
    ]


def write_csv(path: Path, content: list[tuple[str, str]]) -> Path:
    """A file of text and label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *content])
    return path


def data_set(folder: Path, train: int = 24, validation: int = 8, test: int = 8, unlabelled: int = 10) -> Path:
    """A folder of split files without a text in common."""
    ends = list(itertools.accumulate((train, validation, test, unlabelled), initial=0))
    for split, start, end in zip(("train", "validation", "test"), ends, ends[1:], strict=False):
        write_csv(folder / f"{split}.csv", rows(end - start, start))
    texts = [text for text, _ in rows(unlabelled, ends[3])]
    (folder / "unlabelled.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def tokenizer(architecture: str, word_piece: Any) -> Any:
    """A tokenizer of the kind that the architecture has: byte-level BPE for RoBERTa, else ``word_piece``."""
    if architecture != "roberta":
        made = word_piece()
        if architecture == "distilbert":
            made.model_input_names = ["input_ids", "attention_mask"]
        return made
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        itertools.chain(*corpus().values()), vocab_size=400, special_tokens=specials, show_progress=False
    )
    from tokenizers.processors import RobertaProcessing

    trained._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    )


def config(architecture: str, labels: tuple[str, ...] | None = LABELS, layers: int = 3, **changes: Any) -> Any:
    """A configuration of width 16; ``labels`` None leaves LABEL_0, LABEL_1 as transformers names them."""
    from transformers import AutoConfig

    names = (
        {}
        if labels is None
        else {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    )
    sizes = (
        {"dim": 16, "n_layers": layers, "n_heads": 2, "hidden_dim": 24}
        if architecture == "distilbert"
        else {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 24}
    )
    special = {
        "roberta": {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1},
        "electra": {"embedding_size": 8},
    }.get(architecture, {})
    reserved = 2 if architecture == "roberta" else 0
    return AutoConfig.for_model(
        architecture,
        vocab_size=512,
        **{
            "initializer_range": 0.4,  # wide enough for answers that differ between texts
            "max_position_embeddings": POSITIONS + reserved,
            **special,
            **sizes,
            **names,
            **changes,
        },
    )


def classifier(architecture: str, seed: int = 0, **changes: Any) -> Any:
    """A random classifier, in evaluation mode, the same one for the same arguments."""
    return with_head(architecture, "AutoModelForSequenceClassification", seed, **changes)


def with_head(architecture: str, head: str, seed: int = 0, **changes: Any) -> Any:
    """The same with the head of any of transformers' auto classes; plain ``AutoModel`` has none."""
    import torch
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, head).from_config(config(architecture, **changes)).eval()


def save(folder: Path, architecture: str, word_piece: Any, **changes: Any) -> Path:
    """Model and tokenizer as a user has them: written by plain ``save_pretrained``."""
    classifier(architecture, **changes).save_pretrained(folder)
    tokenizer(architecture, word_piece).save_pretrained(folder)
    return folder
