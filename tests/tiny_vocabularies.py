"""Tokenizers over given vocabularies, as BERT and RoBERTa have them, and the smallest model over one."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from lilliput.architectures import StaticConfig, StaticForSequenceClassification

NAMES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def word_piece(words: dict[str, int], **changes: Any) -> Any:
    """BERT's tokenizer over ``words``."""
    built = Tokenizer(kinds.WordPiece(words, unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    built.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    ends = [(token, words[token]) for token in ("[CLS]", "[SEP]")]
    built.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    names = {f"{name}_token": token for name, token in NAMES.items()}
    return PreTrainedTokenizerFast(tokenizer_object=built, model_max_length=40, **names, **changes)


def byte_level(pairs: list[tuple[str, str]], **changes: Any) -> Any:
    """RoBERTa's tokenizer over the bytes and ``pairs``."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokens = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, pairs)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    built = Tokenizer(kinds.BPE(vocabulary, pairs, **changes))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    built.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>", mask_token="<mask>", **names)


def table_of(tokenizer: Any) -> Any:
    """The smallest model there is over a tokenizer."""
    config = StaticConfig(vocab_size=len(tokenizer), embedding_size=4, width=4, head_size=4, num_labels=2)
    return StaticForSequenceClassification(config).eval()
