"""More transfer text out of the text there is, without another model.

The teacher labels whatever it is given, so the texts need not be true sentences: they need to be near enough to real
ones for the teacher's answers on them to say something about its answers on real ones.

Follows the data augmentation of Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural
Networks", 2019, section 3.2 (n-gram sampling, masking by omission), and adds mixing of two texts' spans, which gives
texts of mixed sentiment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

MIX = 0.5
"""Share of the augmented texts that join spans of two texts; the others are one span with words left out."""
MIN_SPAN, MAX_SPAN = 0.3, 0.8
"""Length of a span that is joined, as a share of its text."""
OMIT = 0.1
"""Share of the words left out of a span that stands alone."""


def augment(texts: Sequence[str], copies: int, seed: int) -> Iterator[str]:
    """``copies`` augmented texts for each of ``texts``, in their order; the same for the same seed."""
    generator = random.Random(seed)
    words = [text.split() or [text] for text in texts] if copies else []
    return (_one(own, words, generator) for _ in range(copies) for own in words)


def _one(own: list[str], words: Sequence[list[str]], generator: random.Random) -> str:
    if generator.random() < MIX:
        other = words[generator.randrange(len(words))]
        return " ".join(_span(own, generator, MAX_SPAN) + _span(other, generator, MAX_SPAN))
    span = _span(own, generator, 1.0)
    kept = [word for word in span if generator.random() >= OMIT]
    return " ".join(kept or span[:1])


def _span(words: list[str], generator: random.Random, longest: float) -> list[str]:
    length = max(1, int(len(words) * generator.uniform(MIN_SPAN, longest)))
    start = generator.randrange(len(words) - length + 1)
    return words[start : start + length]
