"""Words for a mask: the answers of transformers' own pipeline, and what is refused."""

import numpy as np
import pytest
from tokenizers import decoders
from transformers import pipeline

from lilliput import tasks
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError, InputError
from lilliput.tasks.fill_mask import TASK, Filled
from lilliput.train import sources

MASK = {"bert": "[MASK]", "roberta": "<mask>", "distilbert": "[MASK]", "electra": "[MASK]"}
TEXTS = [
    "the film was MASK",
    "MASK",
    "MASK film was MASK!",
    "the MASK 漢字 MASK not MASK 😀",
    "naïve MASK, it was good.",
]


def assert_same(found, expected):
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found.keys() == expected.keys()
        assert found["score"] == pytest.approx(expected["score"], rel=1e-4)
        assert {**found, "score": 0} == {**expected, "score": 0}


@pytest.mark.parametrize("architecture", MASK)
@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"top_k": 7}])
def test_answers_are_those_of_the_pipeline(architecture, options, headed, asked):
    tokenizer, model = headed(architecture, TASK.head, ("a", "b"))
    theirs = pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
    texts = [text.replace("MASK", MASK[architecture]) for text in TEXTS]
    found = asked(TASK, tokenizer, model, texts, **options)
    for text, answer in zip(texts, found, strict=True):
        assert_same(answer, theirs(text, **options))


def test_sub_words_are_joined_as_the_tokenizer_has_it(headed, asked, encoders, tiny):
    _, model = headed("bert", TASK.head, ("a", "b"))
    tokenizer = encoders.tokenizer("bert", tiny.tokenizer)
    tokenizer.backend_tokenizer.decoder = decoders.WordPiece()
    text = "a naïve café was [MASK], very lovely"
    (found,) = asked(TASK, tokenizer, model, [text])
    assert_same(found, pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")(text))
    assert "naive cafe was" in found[0]["sequence"]


def test_a_text_without_a_mask_is_refused(headed, asked):
    for architecture in ("bert", "roberta"):
        tokenizer, model = headed(architecture, TASK.head, ("a", "b"))
        with pytest.raises(InputError, match=f"no {MASK[architecture].replace('[', '.')[:-1]}"):
            asked(TASK, tokenizer, model, ["the film was great"])
        with pytest.raises(InputError, match="among the tokens that are read"):
            asked(TASK, tokenizer, model, ["the film was very long " * 4 + MASK[architecture]], max_length=8)


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": None}, {"targets": ["good"]}])
def test_wrong_options_are_named(options, tiny):
    backend = tiny.tokenizer().backend_tokenizer
    with pytest.raises(ConfigError, match=next(iter(options))):
        TASK.answer("x", Filled((2, 4, 3), (1,), np.ones((1, 9))), (), {}, tokenizer=backend, **options)


def test_models_are_pretrained_not_fine_tuned(tmp_path):
    assert tasks.get("fill-mask").command == "pretrain"
    with pytest.raises(ConfigError, match="--task fill-mask: its models are made by 'lilliput pretrain'"):
        sources.load(FinetuneConfig(task="fill-mask", data="texts.csv", out=tmp_path))
