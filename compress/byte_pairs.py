"""Byte-pair encoding (Sennrich et al. 2016): through which merges the encoder comes to a token.

The encoder starts with the characters of a word (bytes, in the byte-level form of Radford et al. 2019) and merges the
adjacent pair of the lowest rank, the leftmost of equal ones, until no pair is in its list. No merge of a word reaches
across the ends of a token that comes out, or that comes up on the way. So inside a token all goes as if it were the
whole word: a token is always made through the same merges, `Merges.origin` says which is the last of them, and those
before it are the origins of its two parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

Pair = tuple[str, str]


class Merges:
    """The merges of an encoder, in the order of their ranks."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}  # of a pair listed twice the later rank counts
        self._origins: dict[str, Pair | None] = {}

    def encode(self, word: str) -> list[str]:
        """The tokens of a word."""
        return self._encode(word)[0]

    def origin(self, token: str) -> Pair | None:
        """The last merge by which the encoder makes ``token``.

        None for a single character, and for what the encoder never makes: a special token, or one whose merges are
        always forestalled by others.
        """
        if token not in self._origins:
            tokens, last = self._encode(token)
            self._origins[token] = last if len(tokens) == 1 else None
        return self._origins[token]

    def closure(self, token: str) -> set[str]:
        """The token, and every token that the encoder goes through to make it."""
        found, left = set(), [token]
        while left:
            part = left.pop()
            if part not in found:
                found.add(part)
                left += self.origin(part) or ()
        return found

    def of(self, tokens: Iterable[str]) -> list[Pair]:
        """The merges that the encoder needs to make ``tokens``, a set that is its own closure, in rising rank.

        An encoder with these merges alone gives every word whose tokens are among ``tokens`` the same ones. For let
        the two run side by side, alike so far. The merge that the whole list takes next is inside of a token that will
        come out, so it is one of these; it has the lowest rank of all that apply, hence of these that apply, and both
        take it. A merge that is not among these could have been preferred to it only by being taken, and then it would
        be among these. And where the whole list has nothing more to merge, neither have these.
        """
        pairs = {pair for token in tokens if (pair := self.origin(token)) is not None}
        return sorted(pairs, key=self._ranks.__getitem__)

    def _encode(self, word: str) -> tuple[list[str], Pair | None]:
        """The tokens of a word, and the merge that was the last."""
        tokens, last = list(word), None
        while True:
            known = [(self._ranks[pair], place) for place, pair in enumerate(pairwise(tokens)) if pair in self._ranks]
            if not known:
                return tokens, last
            place = min(known)[1]
            last = (tokens[place], tokens[place + 1])
            tokens[place : place + 2] = ["".join(last)]
