"""Trimming: what is kept, that kept texts read the same and give the same outputs, and that all else still reads."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from lilliput import models
from lilliput.architectures import (
    ConvolutionalConfig,
    ConvolutionalForSequenceClassification,
    StaticConfig,
    StaticForSequenceClassification,
    pruned,
)
from lilliput.compress.vocabulary import count_tokens, keep, trim
from lilliput.errors import ConfigError, ModelError
from lilliput.tokenization import TextEncoder
from lilliput.wordpieces import WordPieces

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
OTHERS = ("unbelievable filmmaking", "joyful, awfully long!", "that great unhappiness", "xyz 42")
quick = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = ["a", "joy", "film", "great", "unbelievable", "bad", "not", "awfully", "THE", "xyz"]
texts = st.lists(
    st.text(string.ascii_letters + " .,!'é漢字😀", max_size=30)
    | st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def made(encoders: ModuleType, vocabularies: ModuleType) -> Callable[[str], tuple[Any, Any]]:
    """A random classifier and a trained tokenizer of each architecture. Shared: not to be changed."""
    corpus = [*itertools.chain(*encoders.corpus().values()), *OTHERS * 5, string.ascii_letters, string.punctuation]

    @functools.cache
    def build(architecture: str) -> tuple[Any, Any]:
        if architecture == "roberta":
            return encoders.classifier(architecture), encoders.tokenizer(architecture, None)
        trained = vocabularies.word_piece({token: number for number, token in enumerate(SPECIALS)}).backend_tokenizer
        inside = [f"##{letter}" for letter in string.ascii_lowercase]
        unused = [f"[unused{number}]" for number in range(3)]  # so that special tokens do not stay where they are
        trainer = WordPieceTrainer(
            vocab_size=400,
            special_tokens=["[PAD]", *unused, *SPECIALS[1:], *inside],
            show_progress=False,
        )
        trained.train_from_iterator(corpus, trainer)
        inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * (architecture != "distilbert")
        tokenizer = vocabularies.word_piece(trained.get_vocab(with_added_tokens=False), model_input_names=inputs)
        return encoders.classifier(architecture), tokenizer

    return build


def logits(model: Any, tokenizer: Any, some: list[str]) -> Tensor:
    """Of each text alone, so that nothing is padded."""
    with torch.no_grad():
        read = [tokenizer(text, return_tensors="pt", truncation=True, max_length=40) for text in some]
        return torch.cat([model(**inputs).logits for inputs in read])


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_whose_tokens_are_kept_give_the_same(made: Any, architecture: str) -> None:
    model, tokenizer = made(architecture)

    @quick
    @given(texts, texts, st.none() | st.integers(0, 60))
    def check(corpus: list[str], some: list[str], beyond: int | None) -> None:
        counts = count_tokens(tokenizer, corpus)
        size = None if beyond is None else len(keep(tokenizer, Counter())) + beyond
        kept = keep(tokenizer, counts, size)
        smaller, trimmed = trim(model, tokenizer, kept)
        assert len(trimmed) == len(kept) == smaller.config.vocab_size == smaller.get_input_embeddings().num_embeddings
        for text in [*corpus, *some]:
            before, after = ids_of(tokenizer, text), ids_of(trimmed, text)
            if set(before) <= set(kept):
                assert [kept[number] for number in after] == before
                torch.testing.assert_close(
                    logits(smaller, trimmed, [text]), logits(model, tokenizer, [text]), rtol=0, atol=1e-6
                )
            # Shorter pieces of the same text otherwise, and as many unknown words as before.
            assert len(after) >= len(before)
            assert after.count(trimmed.unk_token_id) == before.count(tokenizer.unk_token_id)
            assert trimmed.decode(after) == tokenizer.decode(before)
        if size is None:
            assert all(set(ids_of(tokenizer, text)) <= set(kept) for text in corpus)

    check()


@st.composite
def any_words(draw: st.DrawFn) -> dict[str, int]:
    """Any tokens of three letters, not only such as training makes; each letter may be missing inside of words."""
    letters = draw(st.sets(st.sampled_from("abc")))
    pieces = draw(st.sets(st.text("abc", min_size=2, max_size=5)))
    inside = draw(st.sets(st.text("abc", min_size=2, max_size=5)))
    tokens = [
        *SPECIALS,
        *"abc",
        *(f"##{letter}" for letter in letters),
        *pieces,
        *(f"##{p}" for p in inside),
    ]
    return {token: number for number, token in enumerate(sorted(tokens))}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=any_words(), some=st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=8), data=st.data()
)
def test_any_word_piece_vocabulary_reads_kept_words_the_same(
    vocabularies: ModuleType, words: dict[str, int], some: list[str], data: st.DataObject
) -> None:
    tokenizer = vocabularies.word_piece(words)
    kept = keep(tokenizer, Counter(data.draw(st.sets(st.sampled_from(sorted(words.values()))))))
    trimmed = trim(vocabularies.table_of(tokenizer), tokenizer, kept)[1]
    for word in some:
        before, after = tokenizer.tokenize(word), trimmed.tokenize(word)
        spelled = all(f"##{letter}" in words for letter in word[1:])
        if before != ["[UNK]"] and {words[token] for token in before} <= set(kept):
            assert after == before
        if spelled:
            assert "[UNK]" not in before + after
            assert "".join(token.removeprefix("##") for token in after) == word


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_special_tokens_have_new_ids_everywhere(made: Any, architecture: str) -> None:
    model, tokenizer = copy.deepcopy(made(architecture))
    models.add_tokens(model, tokenizer, ["[E1]", "[/E1]"])
    tokenizer.backend_tokenizer.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    model.config.sep_token_id, model.config.bos_token_id = tokenizer.sep_token_id, None
    kept = keep(tokenizer, count_tokens(tokenizer, ["a joy"]))
    smaller, trimmed = trim(model, tokenizer, kept)
    for token in tokenizer.all_special_tokens:
        assert kept[trimmed.convert_tokens_to_ids(token)] == tokenizer.convert_tokens_to_ids(token)
    assert [str(trimmed.added_tokens_decoder[len(kept) - place]) for place in (2, 1)] == ["[E1]", "[/E1]"]
    assert trimmed.added_tokens_decoder[len(kept) - 1].special
    assert trimmed.convert_tokens_to_ids(["[E1]", "[/E1]"]) == [len(kept) - 2, len(kept) - 1]
    assert trimmed.backend_tokenizer.padding["pad_id"] == trimmed.pad_token_id == smaller.config.pad_token_id
    assert (smaller.config.sep_token_id, smaller.config.bos_token_id) == (trimmed.sep_token_id, None)
    assert smaller.get_input_embeddings().padding_idx == trimmed.pad_token_id
    pair = ("a [E1] joy [/E1]", "a joy")
    assert [kept[number] for number in trimmed(*pair)["input_ids"]] == tokenizer(*pair)["input_ids"]
    torch.testing.assert_close(
        logits(smaller, trimmed, [pair[0]]), logits(model, tokenizer, [pair[0]]), rtol=0, atol=1e-6
    )


def test_neither_model_nor_tokenizer_is_changed(made: Any) -> None:
    model, tokenizer = made("bert")
    serialized, weights = tokenizer.backend_tokenizer.to_str(), copy.deepcopy(model.state_dict())
    settings_before = model.config.to_dict()
    smaller, _ = trim(model.train(), tokenizer, keep(tokenizer, Counter()))
    assert smaller.training
    assert not trim(model.eval(), tokenizer, keep(tokenizer, Counter()))[0].training
    assert tokenizer.backend_tokenizer.to_str() == serialized
    assert model.config.to_dict() == settings_before
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_and_read_again_it_is_the_same(made: Any, architecture: str, tmp_path: Path) -> None:
    model, tokenizer = copy.deepcopy(made(architecture))
    models.add_tokens(model, tokenizer, ["[E1]"])
    some = ["a joy from start to finish", "the film was bad!", "[E1] 漢字", ""]
    smaller, trimmed = trim(model, tokenizer, keep(tokenizer, count_tokens(tokenizer, some)))
    models.save(smaller, trimmed, tmp_path)
    serialized = trimmed.backend_tokenizer.to_str()
    for reread in (AutoTokenizer.from_pretrained(tmp_path), models.load_tokenizer(tmp_path)):
        assert reread.backend_tokenizer.to_str() == serialized
        assert reread.model_input_names == trimmed.model_input_names
        assert [ids_of(reread, text) for text in (*some, *OTHERS)] == [ids_of(trimmed, t) for t in (*some, *OTHERS)]
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in smaller.state_dict().items())
    torch.testing.assert_close(logits(again, reread, some), logits(model, tokenizer, some), rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_classes_of_transformers_are_trimmed_too(made: Any, architecture: str, tmp_path: Path) -> None:
    """They build their tokenizer from the vocabulary, not from the rest of tokenizer.json."""
    from transformers import BertTokenizer, RobertaTokenizer

    model, plain = made(architecture)
    vocabulary = plain.backend_tokenizer.get_vocab()
    merges = [tuple(pair) for pair in json.loads(plain.backend_tokenizer.to_str())["model"].get("merges", ())]
    tokenizer = BertTokenizer(vocabulary) if architecture == "bert" else RobertaTokenizer(vocabulary, merges)
    models.add_tokens(model := copy.deepcopy(model), tokenizer, ["[E1]"])
    some = ["a joy from start", "[E1] not bad"]
    kept = keep(tokenizer, count_tokens(tokenizer, some))
    smaller, trimmed = trim(model, tokenizer, kept)
    assert type(trimmed) is type(tokenizer)
    models.save(smaller, trimmed, tmp_path)
    reread = AutoTokenizer.from_pretrained(tmp_path)
    for text in some:
        assert [kept[number] for number in ids_of(reread, text)] == ids_of(tokenizer, text)
    torch.testing.assert_close(logits(smaller, reread, some), logits(model, tokenizer, some), rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_masked_language_model_keeps_the_logits_of_what_is_kept(
    made: Any, encoders: ModuleType, architecture: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(encoders.config(architecture)).eval()
    with torch.no_grad():
        model.get_output_embeddings().bias.normal_()
    tokenizer = made(architecture)[1]
    some = ["a joy", "the film was great"]
    kept = keep(tokenizer, count_tokens(tokenizer, some))
    smaller, trimmed = trim(model, tokenizer, kept)
    assert smaller.get_output_embeddings().weight is smaller.get_input_embeddings().weight
    smaller.save_pretrained(tmp_path)
    again = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    for text in some:
        expected = logits(model, tokenizer, [text])[..., list(kept)]
        torch.testing.assert_close(logits(smaller, trimmed, [text]), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(logits(again, trimmed, [text]), expected, rtol=0, atol=1e-6)


def test_positions_that_are_counted_from_the_padding_move_with_it(
    encoders: ModuleType, vocabularies: ModuleType
) -> None:
    """RoBERTa's first token has position pad_token_id + 1."""
    tokenizer = made_with_late_padding(vocabularies)
    assert tokenizer.pad_token_id == 3
    model = encoders.classifier("roberta", pad_token_id=3, max_position_embeddings=44)
    kept = tuple(number for number in keep(tokenizer, count_tokens(tokenizer, ["a joy"])) if number not in (0, 2))
    smaller, trimmed = trim(model, tokenizer, kept)
    assert (trimmed.pad_token_id, smaller.config.pad_token_id, smaller.config.max_position_embeddings) == (1, 1, 42)
    long = "a joy " * 40
    read = [tokenizer(long, return_tensors="pt", truncation=True, max_length=40) for tokenizer in (tokenizer, trimmed)]
    assert read[0]["input_ids"].shape == (1, 40)
    torch.testing.assert_close(smaller(**read[1]).logits, model(**read[0]).logits, rtol=0, atol=1e-6)


def made_with_late_padding(vocabularies: ModuleType) -> Any:
    words = ["xx", "[UNK]", "yy", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "joy", *string.ascii_lowercase]
    inside = [f"##{letter}" for letter in string.ascii_lowercase]
    return vocabularies.word_piece(
        {word: number for number, word in enumerate([*words, *inside])},
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.mark.parametrize("kind", ["convolutional", "static"])
def test_students_without_blocks_are_trimmed_too(made: Any, kind: str, tmp_path: Path) -> None:
    tokenizer = made("bert")[1]
    sizes = {"vocab_size": len(tokenizer) + 7, "embedding_size": 8, "width": 8, "head_size": 8, "num_labels": 3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = (
            ConvolutionalForSequenceClassification(ConvolutionalConfig(**sizes))
            if kind == "convolutional"
            else StaticForSequenceClassification(StaticConfig(**sizes))
        ).eval()
    some = ["a joy from start", "not bad"]
    smaller, trimmed = trim(model, tokenizer, keep(tokenizer, count_tokens(tokenizer, some)))
    models.save(smaller, trimmed, tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    mine = [logits(network, trimmed, some) for network in (smaller, again, smaller.folded())]
    for found in mine:
        torch.testing.assert_close(found, logits(model, tokenizer, some), rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_encoders_of_unequal_blocks_are_trimmed_too(
    made: Any, encoders: ModuleType, architecture: str, tmp_path: Path
) -> None:
    plain = encoders.config(architecture)
    config = pruned.with_class(
        plain,
        pruned.CONFIGS[type(plain)],
        block_heads=[1, 2, 0],
        block_ffn=[5, 0, 24],
        head_size=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config).eval()
    tokenizer, some = made(architecture)[1], ["a joy from start", "not bad"]
    smaller, trimmed = trim(model, tokenizer, keep(tokenizer, count_tokens(tokenizer, some)))
    models.save(smaller, trimmed, tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.config.block_heads == [1, 2, 0]
    for network in (smaller, again):
        torch.testing.assert_close(logits(network, trimmed, some), logits(model, tokenizer, some), rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_the_app_runtime_reads_a_trimmed_tokenizer(made: Any, architecture: str) -> None:
    model, tokenizer = made(architecture)
    some = ["a joy from start to finish", "the film was bad!"]
    trimmed = trim(model, tokenizer, keep(tokenizer, count_tokens(tokenizer, some)))[1]
    serialized = trimmed.backend_tokenizer.to_str().encode()
    encode = TextEncoder(serialized, max_length=12, path=Path("tokenizer.json"))
    for text in (*some, *OTHERS, "漢字 " * 99, ""):
        assert encode(text, 0)[0] == trimmed(text, truncation=True, max_length=12)["input_ids"]
    library = Tokenizer.from_str(serialized.decode())
    library.enable_truncation(12)
    table = WordPieces.of(library, 12)
    assert (table is not None) == (architecture == "bert")


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_an_exported_graph_gives_what_torch_gives(
    made: Any, encoders: ModuleType, architecture: str, tmp_path: Path
) -> None:
    import onnxruntime

    from lilliput import encoder
    from lilliput.export.onnx import export_onnx

    model, tokenizer = encoders.classifier(architecture, layers=1), made(architecture)[1]
    some = ["a joy from start to finish", "xyz unbelievable"]
    smaller, trimmed = trim(model, tokenizer, keep(tokenizer, count_tokens(tokenizer, some[:1])))
    inputs = encoder.input_names_of(smaller, trimmed)
    export_onnx(smaller, inputs, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for text in some:
        read = trimmed(text, return_tensors="np")
        found = session.run(None, {name: read[name].astype(np.int64) for name in inputs})[0]
        np.testing.assert_allclose(found, logits(smaller, trimmed, [text]).numpy(), atol=1e-5)
    np.testing.assert_allclose(
        logits(smaller, trimmed, some[:1]).numpy(), logits(model, tokenizer, some[:1]).numpy(), atol=1e-6
    )


def test_nothing_to_drop_leaves_all_as_it_is(made: Any) -> None:
    model, tokenizer = made("bert")
    kept = keep(tokenizer, Counter(range(len(tokenizer))))
    smaller, trimmed = trim(model, tokenizer, kept)
    assert trimmed.get_vocab() == tokenizer.get_vocab()
    assert torch.equal(logits(smaller, trimmed, list(OTHERS)), logits(model, tokenizer, list(OTHERS)))


def test_tokens_that_must_stay_are_asked_for(made: Any) -> None:
    model, tokenizer = made("roberta")
    kept = keep(tokenizer, count_tokens(tokenizer, ["a joy from start to finish"]))
    with pytest.raises(ConfigError, match=r"1 are missing that must stay .'<s>'.; choose them with"):
        trim(model, tokenizer, kept[1:])
    merged = tokenizer.convert_tokens_to_ids("fi")
    assert merged in kept  # finish is made through it
    with pytest.raises(ConfigError, match="'fi'"):
        trim(model, tokenizer, [number for number in kept if number != merged])
    with pytest.raises(ConfigError, match="must be rising"):
        trim(model, tokenizer, kept[::-1])
    with pytest.raises(ConfigError, match="99999 is not the id of a token"):
        trim(model, tokenizer, (*kept, 99999))


def test_a_model_of_another_tokenizer_is_refused(made: Any) -> None:
    tokenizer = made("bert")[1]
    kept = keep(tokenizer, Counter(range(len(tokenizer))))
    config = StaticConfig(vocab_size=9, embedding_size=4, width=4, head_size=4)
    with pytest.raises(ModelError, match="table has 9 rows"):
        trim(StaticForSequenceClassification(config), tokenizer, kept)
    config = StaticConfig(vocab_size=500, embedding_size=4, width=4, head_size=4, pad_token_id=2)  # [unused1]
    with pytest.raises(ModelError, match=r"pad_token_id 2 of the model's config.json"):
        trim(StaticForSequenceClassification(config), tokenizer, keep(tokenizer, Counter()))
