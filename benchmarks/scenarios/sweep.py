"""Batch x length: how long calls take for texts of several lengths, alone and together."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lilliput import timing
from lilliput.benchmarks.bench import Bench, Found, Runners
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.table import Column, milliseconds
from lilliput.bundle import Bundle

ABOUT = (
    "Texts of one length, made of the test texts' most frequent words, which are one token each in usual vocabularies; "
    "with the first and last token of a text their number of tokens is the length. Milliseconds of a call (and texts "
    "a second), medians of calls in rounds: tokens x texts. Dynamic int8 answers text by text, whatever the batch."
)
BATCHES = (1, 8, 32)
LENGTHS = (8, 16, 32, 64, 128)
SPECIAL = 2
"""Tokens around a text."""
ROUNDS, LEAST, CALLS, CELL_S = 3, 2, 16, 0.25
"""Rounds, calls of a cell in each of them, and about how long they may take."""
WORDS = 50


def _cell(length: int, batch: int) -> Column:
    def text(one: Mapping[str, Any]) -> str:
        found = [cell["ms"] for cell in one["cells"] if (cell["length"], cell["batch"]) == (length, batch)]
        return milliseconds(found[0]) if found else "–"

    return Column(f"{length} x {batch}", f"median ms of a call of {batch} texts of {length} tokens each", text)


COLUMNS = (
    *(_cell(length, batch) for length in LENGTHS for batch in BATCHES),
    Column("batches", "whether the graph reads texts together", lambda one: one["how"], numeric=False),
)


def measure(bench: Bench) -> Found:
    """A cell for every batch size and length that a model reads."""
    words = frequent_words(bench.texts)
    texts = {length: made_of(words, length - SPECIAL, max(BATCHES), bench.seed) for length in LENGTHS}
    limits = {entry.name: longest(entry) for entry in bench.entries}
    times: dict[str, dict[tuple[int, int], list[int]]] = {entry.name: {} for entry in bench.entries}
    with bench.runners("sweep") as runners:
        how = {name: runners.ask(name, "batching") for name in runners.names}
        for number in range(ROUNDS):
            for name in runners.turns(number):
                bench.tell(f"{name}: batch x length, round {number + 1} of {ROUNDS}")
                for length in LENGTHS:
                    if length > (limits[name] or length):
                        continue
                    for batch in BATCHES:
                        calls = _calls(runners, name, texts[length][:batch], batch)
                        times[name].setdefault((length, batch), []).extend(calls)
        models = {
            name: {"how": _how(how[name]), "limit": limits[name], "cells": _entry(times[name])}
            for name in runners.names
        }
        return Found(runners.found(models), {"threads": bench.threads})


def _calls(runners: Runners, name: str, texts: Sequence[str], batch: int) -> list[int]:
    """Nanoseconds of some calls; the first one of a cell is not counted."""
    first = runners.ask(name, "sized", texts=texts, size=batch)
    if first is None:
        return []
    count = int(max(LEAST, min(CALLS, CELL_S * timing.NS_PER_S / max(1, first["ns"]))))
    replies = [runners.ask(name, "sized", texts=texts, size=batch) for _ in range(count)]
    return [reply["ns"] for reply in replies if reply]


def _entry(times: Mapping[tuple[int, int], Sequence[int]]) -> list[dict[str, Any]]:
    found = []
    for (length, batch), calls in times.items():
        ms = timing.percentiles(calls).p50
        found.append({"length": length, "batch": batch, "ms": ms, "per_s": 1000 * batch / ms, "calls": len(calls)})
    return found


def _how(batching: Mapping[str, Any] | None) -> str:
    return "together" if batching and batching["together"] else "text by text"


def frequent_words(texts: Sequence[str], count: int = WORDS) -> list[str]:
    """The most frequent words of some texts, letters only and in lower case, the most frequent first."""
    found = Counter(word for text in texts for word in re.findall(r"[^\W\d_]+", text.lower()))
    return [word for word, _ in found.most_common(count)] or ["a"]


def made_of(words: Sequence[str], length: int, count: int, seed: int) -> list[str]:
    """So many texts of so many words, drawn at random."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=length)) for _ in range(count)]


def longest(entry: Entry) -> int | None:
    """Tokens that a model reads at most; None where that is not known."""
    if "bundle" in entry.options:
        return Bundle.open(entry.options["bundle"]).manifest.max_length
    limit: int | None = entry.options.get("max_length")
    return limit
