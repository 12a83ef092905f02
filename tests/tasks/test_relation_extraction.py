"""Marked entities: every way to mark them, what is refused, and new tokens that are learnt and saved."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import InputError
from lilliput.tasks import RowFault
from lilliput.tasks.relation_extraction import MARKERS, TASK, marked
from lilliput.train import finetune
from lilliput.train.evaluate import predict

MARIE = "[E1] Marie [/E1] came from [E2] Warsaw [/E2]."


@pytest.mark.parametrize(
    "given",
    [
        {"text": "[E1] Marie [/E1] came from [E2] Warsaw [/E2]."},
        {"text": "[E1]Marie[/E1] came from   [E2]Warsaw[/E2]."},
        {"text": "<e1>Marie</e1> came from <e2>Warsaw</e2>."},
        {"sentence": "Marie came from Warsaw.", "head": [0, 5], "tail": [16, 22]},
        {"sentence": "Marie came from Warsaw.", "entity1": "0, 5", "entity2": "[16, 22]"},
        {"sentence": "<e1>Marie</e1> came from <e2>Warsaw</e2>.", "head": None, "tail": None},
    ],
)
def test_every_way_to_mark_entities_gives_the_same_text(given, rows):
    assert rows(TASK, {**given, "relation": "born-in"}) == ([(MARIE, "born-in")], {})


def test_the_second_entity_may_come_first(rows):
    ((item, _),), _ = rows(TASK, {"text": "Marie came from Warsaw.", "head": [16, 22], "tail": [0, 5], "label": "x"})
    assert item == "[E2] Marie [/E2] came from [E1] Warsaw [/E1]."
    assert marked(item) == item


def test_the_columns_count_the_characters_of_the_text_as_it_is(rows):
    ((item, _),), _ = rows(TASK, {"text": "  Marie came from Warsaw.", "head": [2, 7], "tail": [18, 24], "label": "x"})
    assert item == MARIE


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("Marie came from Warsaw", "entity that is not marked"),
        ("[E1] Marie [/E1] came from Warsaw", "entity that is not marked"),
        ("[E1] Marie [/E1] came from [E2] Warsaw", "entity that is not marked"),
        ("[E1] Marie [/E1] and [E1] Pierre [/E1] came from [E2] Warsaw [/E2]", "entity markers that do not pair"),
        ("[/E1] Marie [E1] came from [E2] Warsaw [/E2]", "entity markers that do not pair"),
        ("[E1] Marie [E2] came [/E1] from [/E2]", "overlapping entities"),
        ("[E1] Marie [E2] came [/E2] from [/E1]", "overlapping entities"),
        ("[E1] [/E1] came from [E2] Warsaw [/E2]", "empty entity"),
        ("Marie [E1] came [/E1] from [E2][/E2]", "empty entity"),
    ],
)
def test_faulty_markers_are_named(given, fault, rows):
    with pytest.raises(RowFault, match=f"^{fault}$"):
        marked(given)
    assert rows(TASK, {"text": given, "label": "x"})[1] == {fault: 1}
    with pytest.raises(InputError, match=f"item 1: {fault}; write"):
        TASK.asked([MARIE, given])


@pytest.mark.parametrize(
    ("head", "tail", "fault"),
    [
        ([0, 5], [16, 99], "entity beyond the text"),
        ([-1, 5], [16, 22], "entity beyond the text"),
        ([5, 0], [16, 22], "entity beyond the text"),
        ([0, 5], [3, 8], "overlapping entities"),
        ([0, 5], [1, 3], "overlapping entities"),
        ([0, 5], None, "entity that is not marked"),
        ([0, 5], [7, 7], "empty entity"),
        ([0, 5], [16], "malformed row"),
        ([0, 5], "Warsaw", "malformed row"),
        ([0, 5.5], [16, 22], "malformed row"),
        ([0, 5], 16, "malformed row"),
    ],
)
def test_faulty_columns_are_named(head, tail, fault, rows):
    row = {"text": "Marie came from Warsaw.", "head": head, "tail": tail, "label": "x"}
    assert rows(TASK, row) == ([], {fault: 1})


def test_entities_are_marked_one_way_only(rows):
    row = {"text": MARIE, "head": [0, 5], "tail": [16, 22], "label": "x"}
    assert rows(TASK, row)[1] == {"entities both marked and in columns": 1}


@given(st.text(st.sampled_from("ab .漢"), max_size=30), st.data())
def test_a_mark_around_any_two_words_is_read_back(given, data):
    given = f"x{given}y z"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(given)), min_size=4, max_size=4)))
    head, tail = data.draw(st.permutations([cuts[:2], cuts[2:]]))
    if not given[head[0] : head[1]].strip() or not given[tail[0] : tail[1]].strip():
        return
    item, _ = TASK.read({"text": given, "head": head, "tail": tail})
    assert marked(item) == item
    for span, name in ((head, "E1"), (tail, "E2")):
        inside = item.split(f"[{name}] ")[1].split(f" [/{name}]")[0]
        assert inside.split() == given[slice(*span)].split()


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_who_came_from_where_is_learnt_with_tokens_of_its_own(architecture, learner, tmp_path, quick_training):
    """Only the order of the markers tells the labels apart: all else is equal."""
    words = ("film", "joy", "movie", "start", "finish", "bad", "great", "good")
    draw = np.random.default_rng(0)
    every = sorted({tuple(str(word) for word in draw.choice(words, 4, replace=False)) for _ in range(300)})
    for split, part in (("train", every[:160]), ("validation", every[160:190]), ("test", every[190:220])):
        made = []
        for number, (one, two, three, four) in enumerate(part):
            head, tail = (("E1", "E2"), ("E2", "E1"))[number % 2]
            sentence = f"{one} [{head}] {two} [/{head}] {three} [{tail}] {four} [/{tail}]"
            made.append({"text": sentence, "label": ("forward", "backward")[number % 2]})
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    source = learner(architecture)
    result = finetune(
        FinetuneConfig(
            task="relation-extraction",
            model=str(source),
            data=str(tmp_path),
            epochs=14,
            learning_rate=1e-2,
            batch_size=16,
            max_length=32,
            device="cpu",
            out=tmp_path / "out",
        )
    )
    assert result["test"]["macro_f1"] > 0.9
    tokenizer, model = models.load_tokenizer(result["folder"]), models.load_finetuned(TASK, result["folder"])
    ids = [tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS]
    assert len({*ids, tokenizer.unk_token_id}) == 5
    assert tokenizer("x [E1] y")["input_ids"].count(ids[0]) == 1
    assert max(ids) < model.get_input_embeddings().num_embeddings
    (prediction,) = predict(model, tokenizer, TASK, ["great [E2] film [/E2] joy [E1] bad [/E1]"], 32)
    assert models.labels_of(model)[prediction.argmax()] == "backward"


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("made(e1,e2)", "made(e2,e1)", "none", "born(E2,E1)", "born(E1,E2)"), [(0, 1), (4, 3)]),
        (("e1_owns_e2", "e2_owns_e1"), [(0, 1)]),
        (("made(e1,e2)", "born(e2,e1)"), []),
        (("made", "made-by", "e1", "core1(e2)", "core2(e1)"), []),
        ((), []),
    ],
)
def test_labels_of_both_directions_are_opposites(names, pairs):
    assert TASK.opposites(names) == pairs


def test_a_fresh_head_alone_starts_with_opposites(checkpoint, tmp_path):
    names = ("born(e1,e2)", "born(e2,e1)", "made(e1,e2)", "made(e2,e1)")
    fresh = models.load_for(TASK, checkpoint("bert"), names)
    rows = fresh.classifier.weight.detach()
    assert torch.allclose(rows[0] - rows[1], rows[2] - rows[3], atol=1e-6)
    with torch.no_grad():
        fresh.classifier.weight[0] += 1
    models.save(fresh, models.load_tokenizer(checkpoint("bert")), tmp_path)
    again = models.load_for(TASK, tmp_path, names)
    assert torch.equal(again.classifier.weight, fresh.classifier.weight)


def test_the_embedding_matrix_grows_where_it_must(tiny):
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = tiny.tokenizer()
    size = len(tokenizer)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=size, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    )
    before = model.get_input_embeddings().weight.detach().clone()
    models.add_tokens(model, tokenizer, MARKERS)
    after = model.get_input_embeddings().weight
    assert after.shape[0] == size + 4 == model.config.vocab_size
    assert (after[:size] == before).all()
    # The fresh rows are as long as the others are on average.
    assert after[size:].norm(dim=-1).tolist() == pytest.approx([before.norm(dim=-1).mean().item()] * 4, rel=1e-5)
    models.add_tokens(model, tokenizer, MARKERS)
    assert model.get_input_embeddings().num_embeddings == size + 4
