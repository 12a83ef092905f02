"""Answers to any number of texts, and in an event loop."""

import asyncio

import pytest

from lilliput import runtime
from lilliput.errors import InputError
from lilliput.runtime import load


def test_a_stream_of_texts_at_constant_memory(tiny_bundle):
    model = load(tiny_bundle)
    read = []

    def texts():
        for number in range(1000):
            read.append(number)
            yield f"good {number}"

    stream = model.stream(texts())
    assert next(stream) == model(["good 0"])[0]
    assert len(read) == runtime.PIECE  # no further
    assert [next(stream), *stream] == model([f"good {number}" for number in range(1, 1000)])
    with pytest.raises(InputError, match=r"item 3 is int, expected a string \(counted from input 256\)"):
        list(model.stream([*["good"] * 259, 1]))
    assert list(model.stream([])) == []


def test_an_event_loop_goes_on_meanwhile(tiny_bundle):
    model = load(tiny_bundle)

    async def both():
        return await asyncio.gather(model.ask("good"), model.ask(["bad", "awful"], top_k=None))

    assert asyncio.run(both()) == [model("good"), model(["bad", "awful"], top_k=None)]
