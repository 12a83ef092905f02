"""Words that a masked language model replaces: whole ones of one token, and the same ones for the same seed."""

import pytest
import torch

from lilliput import models
from lilliput.compress import masked_words
from lilliput.compress.masked_words import replace_words
from lilliput.errors import ConfigError, ModelError

TEXTS = (
    "The film was not good, not bad; it was a joy!",
    "a movie, and Café naïve?!",
    "it was awfully bad xq 12 12",
    "",
    "great great great great great great great great",
)


def save(folder, encoders, tiny, architecture):
    from transformers import AutoModelForMaskedLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = encoders.config(architecture)
        AutoModelForMaskedLM.from_config(config).eval().save_pretrained(folder)
    encoders.tokenizer(architecture, tiny.tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def language_model(encoders, tiny, tmp_path_factory):
    return save(tmp_path_factory.mktemp("masked") / "bert", encoders, tiny, "bert")


def split(text, tokenizer):
    """The words and marks that the tokenizer sees, as they are in the text."""
    return [text[start:end] for _, (start, end) in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def test_only_whole_words_of_one_token_change(language_model, monkeypatch):
    monkeypatch.setattr(masked_words, "REPLACED", 1.0)
    tokenizer = models.load_tokenizer(language_model)
    (*found,) = replace_words(TEXTS, 1, 0, str(language_model), "cpu")
    assert len(found) == len(TEXTS)
    for text, changed in zip(TEXTS, found, strict=True):
        before, after = split(text, tokenizer), split(changed, tokenizer)
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            pieces = tokenizer.tokenize(old)
            if len(pieces) == 1 and pieces[0].isalpha():
                assert len(tokenizer.tokenize(new)) == 1
                assert new.isalpha()
            else:  # awful ##ly, Café in two pieces, marks and numbers
                assert new == old
    assert found != list(TEXTS)
    assert found[3] == ""


def test_a_share_of_the_words_changes(language_model):
    texts = ["the film was not good and it was a joy"] * 40
    before = texts[0].split()
    changed = [
        one != other
        for text in replace_words(texts, 1, 0, str(language_model), "cpu")
        for one, other in zip(text.split(), before, strict=True)
    ]
    assert 0.12 < sum(changed) / len(changed) < 0.25  # a word can be replaced by itself


def test_what_is_put_in_is_likely_in_its_place(language_model, monkeypatch):
    monkeypatch.setattr(masked_words, "REPLACED", 1.0)
    monkeypatch.setattr(masked_words, "CANDIDATES", 1)
    tokenizer = models.load_tokenizer(language_model)
    (changed,) = replace_words(["it was good"], 1, 0, str(language_model), "cpu")
    from lilliput import tasks

    model = models.load_finetuned(tasks.get("fill-mask"), language_model).eval()
    with torch.no_grad():
        logits = model(**tokenizer("[MASK] [MASK] [MASK]", return_tensors="pt")).logits[0, 1:-1]
    whole = [
        i for token, i in tokenizer.get_vocab().items() if token.isalpha() and tokenizer.tokenize(token) == [token]
    ]
    best = [whole[int(row[whole].argmax())] for row in logits]
    assert changed.split() == tokenizer.convert_ids_to_tokens(best)


def test_the_same_seed_changes_alike_and_other_copies_differ(language_model):
    def replaced(copies, seed):
        return list(replace_words(TEXTS, copies, seed, str(language_model), "cpu"))

    two = replaced(2, 0)
    assert two == replaced(2, 0)
    assert two[:5] == replaced(1, 0)
    assert two[:5] != two[5:]
    assert replaced(1, 1) != replaced(1, 0)


def test_texts_come_as_they_are_asked_for(language_model, monkeypatch):
    monkeypatch.setattr(masked_words, "BATCH", 2)
    told = []
    every = replace_words(TEXTS, 2, 0, str(language_model), "cpu", lambda *some: told.append(some))
    next(every)
    assert told == [(0, 10, "a language model changes the texts")]
    assert len(list(every)) == 9
    assert [done for done, *_ in told] == [0, 2, 4, 5, 7, 9]


def test_what_is_beyond_the_model_s_positions_stays(language_model, monkeypatch):
    monkeypatch.setattr(masked_words, "REPLACED", 1.0)
    text = " ".join(["film"] * 60)  # it reads 40 tokens, two of them special
    (changed,) = replace_words([text], 1, 0, str(language_model), "cpu")
    assert changed.split()[38:] == ["film"] * 22
    assert changed.split()[:38] != ["film"] * 38


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "electra"])
def test_language_models_of_every_architecture(architecture, encoders, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(masked_words, "REPLACED", 1.0)
    folder = save(tmp_path / architecture, encoders, tiny, architecture)
    (changed,) = replace_words(["it was great, it was good"], 1, 0, str(folder), "cpu")
    assert changed != "it was great, it was good"
    assert len(changed.split()) == 6
    assert not {"Ġ", "#"} & set(changed)
    assert all(character in ", " or character.isalpha() for character in changed)


def test_what_is_no_masked_language_model_is_refused(checkpoint, encoders, tiny, language_model, tmp_path):
    with pytest.raises(ModelError, match="made for BertForSequenceClassification, not for masked"):
        list(replace_words(TEXTS, 1, 0, str(checkpoint("bert")), "cpu"))
    with pytest.raises(ModelError, match="no such folder"):
        list(replace_words(TEXTS, 1, 0, "./nowhere", "cpu"))
    folder = save(tmp_path / "maskless", encoders, tiny, "bert")
    tokenizer = tiny.tokenizer()
    tokenizer.mask_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"--augment-model .*maskless: its tokenizer has no mask token"):
        list(replace_words(TEXTS, 1, 0, str(folder), "cpu"))


@pytest.mark.usefixtures("quick_training")
def test_a_student_learns_from_the_copies(distil, save_teacher, language_model):
    result = distil(save_teacher(), augment=1, augment_model=str(language_model))
    assert result["texts"] == {"labelled": 24, "transfer": 10, "augmented": 24, "all": 58}
    with pytest.raises(ValueError, match="--augment-model: needs --augment"):
        distil(save_teacher(), augment_model=str(language_model))
