"""Answers as lines for people."""

import pytest

from lilliput.commands.answers import WIDTH, line


def scored(key, *pairs):
    return [{key: name, "score": score} for name, score in pairs]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"label": "positive", "score": 0.98765}, "positive\t0.9877"),
        ({"label": "score", "score": -3.5}, "score\t-3.5000"),
        ({"answer": "from  start\nto finish", "score": 0.5, "start": 3, "end": 9}, "from start to finish\t0.5000"),
        ({"answer": "", "score": 0.5, "start": 0, "end": 0}, "(none)\t0.5000"),
        (scored("label", ("sad", 0.9), ("long", 0.123456)), "sad 0.9000, long 0.1235"),
        (
            scored("label", *((f"l{i}", 0.5) for i in range(8))),
            ", ".join(f"l{i} 0.5000" for i in range(5)) + " and 3 more",
        ),
        ([], "(none)"),
        (scored("token_str", (" fox", 0.5), ("dog", 0.25)), "fox 0.5000, dog 0.2500"),
        ([scored("token_str", ("fox", 0.5)), scored("token_str", ("dog", 0.25))], "fox 0.5000 | dog 0.2500"),
        ([0.5, -0.25, 0.0, 1.0, 0.125, 0.75], "0.5000 -0.2500 0.0000 1.0000 0.1250 … (6 numbers)"),
        ({"something": "else"}, '{"something": "else"}'),
    ],
)
def test_an_answer_and_its_text(answer, said):
    assert line("the film\nwas great", answer) == f"{said}\tthe film was great"


def test_a_long_text_is_cut():
    assert line("x" * WIDTH, []) == "(none)\t" + "x" * WIDTH
    assert line("x" * (WIDTH + 1), []) == "(none)\t" + "x" * (WIDTH - 1) + "…"


@pytest.mark.parametrize("key", ["entity_group", "entity"])
def test_entities_stand_in_the_text(key):
    text = "Marie Curie came\nfrom Warsaw."
    found = [{key: "LOC", "score": 0.9, "start": 22, "end": 28}, {key: "PER", "score": 0.8, "start": 0, "end": 11}]
    assert line(text, found) == "[Marie Curie PER] came from [Warsaw LOC]."
