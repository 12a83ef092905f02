"""The teacher reads each text once, whatever is interrupted, and never in another teacher's place."""

import numpy as np
import pytest

from lilliput import models
from lilliput.compress import teacher_outputs
from lilliput.train.evaluate import logits_of


@pytest.fixture
def ask(checkpoint, tmp_path, monkeypatch):
    """Asks the tiny teacher, in pieces of 4 texts; ``ask.read`` are the texts that it has read."""
    monkeypatch.setattr(teacher_outputs, "PIECE", 4)
    source = checkpoint("bert")
    teacher, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)

    def counted(model, tokenizer, texts, *args, **options):
        if ask.fail_after is not None and len(ask.read) >= ask.fail_after:
            raise KeyboardInterrupt
        ask.read.extend(texts)
        return logits_of(model, tokenizer, texts, *args, **options)

    def ask(texts, *, teacher_id="one", max_length=16, progress=None):
        return teacher_outputs.teacher_logits(
            teacher, tokenizer, teacher_id, texts, max_length, tmp_path / "cache", progress
        )

    monkeypatch.setattr(teacher_outputs, "logits_of", counted)
    monkeypatch.setattr(teacher_outputs, "bf16_is_fast", lambda _: False)
    ask.read, ask.fail_after = [], None
    ask.direct = lambda texts: logits_of(teacher, tokenizer, texts, 16)
    ask.cache = tmp_path / "cache"
    return ask


TEXTS = [f"the film {i} was 漢字 😀" for i in range(10)]


def test_logits_are_the_teacher_s_in_the_order_of_the_texts(ask):
    logits = ask(TEXTS)
    assert logits.shape == (10, 2)
    assert logits.dtype == np.float32
    assert np.abs(logits - ask.direct(TEXTS)).max() < 1e-5
    assert ask.read == TEXTS


def test_the_second_time_nothing_is_computed(ask):
    first = ask(TEXTS)
    ask.read.clear()
    assert np.array_equal(ask(TEXTS), first)
    assert ask.read == []


def test_an_interrupted_reading_goes_on_with_the_next_piece(ask):
    whole = ask(TEXTS, teacher_id="uninterrupted")
    ask.read.clear()
    ask.fail_after = 8
    with pytest.raises(KeyboardInterrupt):
        ask(TEXTS)
    ask.fail_after = None
    ask.read.clear()
    assert np.array_equal(ask(TEXTS), whole)
    assert ask.read == TEXTS[8:]


def test_another_teacher_text_order_or_length_is_another_reading(ask):
    ask(TEXTS)
    for changed in (
        {"teacher_id": "two"},
        {"max_length": 8},
        {"texts": TEXTS[::-1]},
        {"texts": [*TEXTS[:-1], "other"]},
        {"texts": TEXTS[:-1]},
        {"texts": [TEXTS[0] + "\0" + TEXTS[1], *TEXTS[2:]]},
    ):
        ask.read.clear()
        arguments = {"texts": TEXTS, **changed}
        ask(**arguments)
        assert ask.read == arguments["texts"]


def test_a_failed_write_leaves_nothing_behind(ask, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(teacher_outputs.np, "save", full)
        with pytest.raises(OSError, match="No space"):
            ask(TEXTS)
    assert [path for path in ask.cache.rglob("*") if path.is_file()] == []
    assert ask(TEXTS).shape == (10, 2)


def test_progress_counts_all_texts(ask):
    seen = []
    ask(TEXTS, progress=lambda done, total, what: seen.append((done, total, what)))
    assert seen == [(done, 10, "teacher reads the texts") for done in (4, 8, 10)]


def test_no_texts_are_no_logits(ask):
    assert ask([]).shape == (0, 2)
