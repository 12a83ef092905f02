"""Near duplicates: inputs of two splits that have nearly all words in common.

``J(x, y) = |x ∩ y| / |x ∪ y|`` over the sets of words (Jaccard), and J >= t needs ``t max(|x|, |y|)`` common words.
With words in one order, rare ones first, two sets with ``a`` common words share k of them among the first
``|x| - a + k`` of x and ``|y| - a + k`` of y: so only pairs that share k such words are compared, and none is missed.

References: Chaudhuri, Ganti & Kaushik 2006, A primitive operator for similarity joins; Wang, Li & Feng 2012, Can we
beat the prefix filtering (k above 1).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lilliput.tasks import Task
from lilliput.train.data import normalise

THRESHOLD = 0.8
MOST_COMPARED = 200
"""Candidates that a text is compared with, the likeliest first; natural texts have a few."""

_SHORT = ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 20, 4))
"""Fewest and most words of short texts, and k for them: their combinations of k words can be looked up."""
_LONG = (21, 1 << 30, 8)
"""The same of longer texts, which have too many combinations: common words are counted."""
_BLOCK = 1_000_000
"""Texts that are indexed together."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

# A word; of the scripts of Thailand, Laos, Japan and China, which have no spaces, a character.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+"
)

Ints = NDArray[np.int64]


class Pair(NamedTuple):
    """Numbers of two inputs that are near duplicates, and their similarity."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class _Texts:
    """The sets of words of inputs, one after the other.

    Attributes:
        words: [words of all inputs], ranks of words by frequency, rare ones first; sorted in each input.
        starts: [inputs + 1], where the words of each input begin.
        part: [ranks], the part of an input to which a word belongs; equal words of other parts are other words.
    """

    words: NDArray[np.int32]
    starts: Ints
    part: Ints

    @property
    def sizes(self) -> Ints:
        """Words of each input."""
        return np.diff(self.starts)

    def prefixes(self, numbers: Ints, shared: int) -> tuple[NDArray[np.int32], Ints]:
        """The words of each input of which a near duplicate has at least ``shared``, and how many they are."""
        sizes = self.starts[numbers + 1] - self.starts[numbers]
        counts = sizes + (-4 * sizes // 5) + shared  # without THRESHOLD of the words, rounded up
        return self.words[_ranges(self.starts[numbers], counts)], counts


def near_duplicates(
    task: Task, splits: Mapping[str, Sequence[Any]], pairs: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], list[Pair]]:
    """For each pair of splits, the inputs of the second that have near duplicates in the first, with the most similar.

    Of inputs with several parts, such as a question and its context, each part must be similar; the similarity is the
    least of theirs. Inputs without words are left out.
    """
    texts = _texts(task, splits)
    return {(one, other): _between(texts[one], texts[other]) for one, other in pairs}


def _texts(task: Task, splits: Mapping[str, Sequence[Any]]) -> dict[str, _Texts]:
    ids: dict[tuple[int, str], int] = {}
    found: dict[str, tuple[NDArray[np.int32], Ints]] = {}
    for split, inputs in splits.items():
        words, starts = array("i"), array("q", [0])
        for item in inputs:
            for number, text in enumerate(_parts(task, item)):
                words.extend(ids.setdefault((number, word), len(ids)) for word in set(_WORD.findall(normalise(text))))
            starts.append(len(words))
        found[split] = (
            np.frombuffer(words, np.int32) if words else np.empty(0, np.int32),
            np.frombuffer(starts, np.int64),
        )
    counts = sum((np.bincount(words, minlength=len(ids)) for words, _ in found.values()), np.zeros(len(ids), np.int64))
    order = np.argsort(counts, kind="stable")
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids))
    part = np.fromiter((number for number, _ in ids), np.int64, len(ids))[order]
    return {split: _Texts(_sorted(rank[words], starts), starts, part) for split, (words, starts) in found.items()}


def _parts(task: Task, item: Any) -> Iterator[str]:
    for part in task.parts(item):
        read = task.tokens(part)
        yield read.first if isinstance(read.first, str) else " ".join(read.first)
        if read.second is not None:
            yield read.second


def _sorted(words: NDArray[np.int32], starts: Ints) -> NDArray[np.int32]:
    """The words of each input in the order of their ranks."""
    sizes = np.diff(starts)
    for size in np.unique(sizes):
        places = starts[:-1][sizes == size][:, None] + np.arange(size)  # [inputs of this size, size]
        words[places] = np.sort(words[places], axis=1)
    return words


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """``starts[0] ... starts[0] + counts[0] - 1``, then those of the next one, and so on."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def _between(first: _Texts, second: _Texts) -> list[Pair]:
    found: dict[int, Pair] = {}
    marked = np.zeros(len(first.part), bool)
    for fewest, most, shared in (*_SHORT, _LONG):
        asked = np.flatnonzero((fewest <= second.sizes) & (second.sizes <= most))
        near = np.flatnonzero((THRESHOLD * fewest <= first.sizes) & (THRESHOLD * first.sizes <= most))
        candidates_of = _by_count if fewest == _LONG[0] else _by_combination
        for start in range(0, len(near), _BLOCK):
            asked = asked[[number not in found for number in asked.tolist()]]
            for number, candidates in candidates_of(first, near[start : start + _BLOCK], second, asked, shared):
                similarities = _similarities(first, candidates, second, number, marked)
                best = int(similarities.argmax())
                if similarities[best] >= THRESHOLD:
                    found[number] = Pair(int(candidates[best]), number, float(similarities[best]))
    return [found[number] for number in sorted(found)]


def _similarities(
    first: _Texts, candidates: Ints, second: _Texts, number: int, marked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The similarity of a text to each candidate. ``marked`` is False for every word, before and after."""
    own = second.words[second.starts[number] : second.starts[number + 1]]
    sizes = first.starts[candidates + 1] - first.starts[candidates]
    theirs = first.words[_ranges(first.starts[candidates], sizes)]
    parts = int(first.part.max()) + 1
    cell = np.repeat(np.arange(len(candidates)) * parts, sizes) + first.part[theirs]
    marked[own] = True
    common = np.bincount(cell, marked[theirs], len(candidates) * parts).reshape(-1, parts)  # [candidates, parts]
    marked[own] = False
    of_candidate = np.bincount(cell, minlength=len(candidates) * parts).reshape(-1, parts)
    union = of_candidate + np.bincount(first.part[own], minlength=parts) - common
    return np.divide(common, union, out=np.ones(union.shape), where=union > 0).min(axis=1)


def _by_combination(first: _Texts, near: Ints, second: _Texts, asked: Ints, shared: int) -> Iterator[tuple[int, Ints]]:
    """For each text asked about, those near that share a combination of words with it, those of rare ones first."""
    keys, owners = _keys(second, asked, shared)
    indexed, their_owners = _keys(first, near, shared)
    order = np.argsort(indexed, kind="stable")
    indexed, their_owners = indexed[order], their_owners[order]
    starts, ends = np.searchsorted(indexed, keys, "left"), np.searchsorted(indexed, keys, "right")
    there = np.flatnonzero(ends > starts)
    there = there[np.lexsort((ends[there] - starts[there], owners[there]))]
    edges = np.flatnonzero(np.diff(owners[there], prepend=-1, append=-1))
    for begin, end in pairwise(edges.tolist()):
        some = there[begin:end]
        places = _ranges(starts[some], np.minimum(ends[some] - starts[some], MOST_COMPARED))
        yield int(owners[some[0]]), np.unique(their_owners[places[:MOST_COMPARED]])


def _keys(texts: _Texts, numbers: Ints, shared: int) -> tuple[NDArray[np.uint64], Ints]:
    """A hash of each combination of ``shared`` words that a near duplicate may have too, and the text that has it."""
    keys, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    sizes = texts.sizes[numbers]
    for size in np.unique(sizes):
        some = numbers[sizes == size]
        prefixes, counts = texts.prefixes(some, shared)
        words = prefixes.reshape(-1, counts[0]).astype(np.uint64)  # [texts, prefix]
        places = np.array(list(combinations(range(counts[0]), shared)))  # [combinations, shared]
        hashes = np.zeros((len(some), len(places)), np.uint64)
        for column in range(shared):
            hashes = (hashes + words[:, places[:, column]] + np.uint64(1)) * _FACTOR
            hashes ^= hashes >> np.uint64(29)
        keys.append(hashes.ravel())
        owners.append(np.repeat(some, len(places)))
    return np.concatenate(keys), np.concatenate(owners)


def _by_count(first: _Texts, near: Ints, second: _Texts, asked: Ints, shared: int) -> Iterator[tuple[int, Ints]]:
    """For each text asked about, those near that share at least ``shared`` words with it, the likeliest first."""
    words, counts = first.prefixes(near, shared)
    order = np.argsort(words, kind="stable")
    words, owners = words[order], np.repeat(np.arange(len(near)), counts)[order]
    for number in asked.tolist():
        prefix, _ = second.prefixes(np.array([number]), shared)
        starts, ends = np.searchsorted(words, prefix, "left"), np.searchsorted(words, prefix, "right")
        sharing = owners[_ranges(starts, ends - starts)]
        if 8 * len(sharing) > len(near):
            hits = np.bincount(sharing, minlength=1)
            enough = np.flatnonzero(hits >= shared)
            hits = hits[enough]
        else:
            enough, hits = np.unique(sharing, return_counts=True)
            enough, hits = enough[hits >= shared], hits[hits >= shared]
        if len(enough):
            yield number, near[enough[np.argsort(-hits, kind="stable")][:MOST_COMPARED]]
