"""Strings that fill templates: people, places, companies and dates, no two parts of the data sharing one."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Any

from lilliput.errors import MissingDependencyError

PARTS: Mapping[str, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Parts of the data, and the share of all strings that each has."""

_PEOPLE = ["en_US", "en_GB", "de_DE", "fr_FR", "it_IT", "es_ES", "nl_NL", "pl_PL", "sv_SE", "pt_PT", "en_IN", "cs_CZ"]
_PLACES = ["en_GB", "de_DE", "es_ES", "nl_NL", "pl_PL", "sv_SE", "pt_PT", "en_IN", "cs_CZ"]
_YEARS = range(1931, 2026)
_NAME = re.compile(r"[^\W\d_]{3,}(?:[ '-][^\W\d_]{2,}){0,2}")
_STARTS = """Nord Terra Quant Blue Aero Vita Helio Ferro Lumin Hydro Cryo Astra Bio Omni Velo Cobalt Iron Silver Red
Delta Arc Sol Luna Titan Polar Amber Stone River Cedar Falcon"""
_ENDS = """wind soft gen works peak line port tech mark grid forge wave bank lab craft ware vale path field trans byte
star yard point flow core link dyne mills ford"""
_KINDS = """Group Systems Holdings Partners Industries Bank Logistics Foods Airlines Pharma Motors Capital Inc Ltd GmbH
Energy Media Insurance Software Textiles University Hospital Institute Foundation"""


@dataclass(frozen=True)
class Values:
    """The strings of one part."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    places: tuple[str, ...]
    stems: tuple[str, ...]
    years: tuple[int, ...]

    def person(self, draw: Random) -> str:
        """A full name, now and then with an initial, a double name, or a surname alone."""
        first, last, middle = draw.choice(self.first), draw.choice(self.last), draw.choice("ABCDEFGHJKLMNPRSTW")
        every = (f"{first} {last}",) * 6 + (f"{first} {middle}. {last}", f"{first[0]}. {last}", last, last)
        return draw.choice((*every, f"{first} {last}-{draw.choice(self.last)}"))

    def full_name(self, draw: Random) -> str:
        """First name and surname."""
        return f"{draw.choice(self.first)} {draw.choice(self.last)}"

    def place(self, draw: Random) -> str:
        """A town or a country."""
        return draw.choice(self.places)

    def company(self, draw: Random) -> str:
        """A company or institution, named after people or not."""
        one, two, three = draw.sample(self.last, 3)
        kind, stem = draw.choice(_KINDS.split()), draw.choice(self.stems)
        every = (f"{one} {kind}", f"{one} & {two}", f"{one}, {two} and {three}", f"{one} and Sons", f"{one} Brothers")
        return draw.choice(
            (*every, stem, stem, f"{stem} {kind}", f"{stem} {kind}", f"{draw.choice(self.places)} {kind}")
        )

    def date(self, draw: Random) -> str:
        """A date with its year."""
        year, month, day = draw.choice(self.years), draw.randint(1, 12), draw.randint(1, 28)
        name, short = calendar.month_name[month], calendar.month_abbr[month]
        return draw.choice(
            (
                *(f"{day} {name} {year}", f"{name} {day}, {year}", f"{name} {year}", f"{year}", f"{year}"),
                *(f"{day:02}/{month:02}/{year}", f"{year}-{month:02}-{day:02}", f"{short}. {day}, {year}"),
                f"the {draw.choice(('spring', 'summer', 'autumn', 'winter'))} of {year}",
            )
        )


def parts(seed: int, reserved: frozenset[str]) -> dict[str, Values]:
    """The strings of every part.

    Args:
        reserved: words in lower case that no string may be, for they occur in templates.

    Raises:
        MissingDependencyError: Faker is not installed.
    """
    found = cut(_pools(seed, reserved), seed)
    seen: set[str] = set()
    for pools in found.values():  # a word of an earlier part, in whatever pool, is in no later one
        for pool, values in pools.items():
            pools[pool] = [value for value in values if seen.isdisjoint(_words(value))]
        seen |= {word for values in pools.values() for value in values for word in _words(value)}
    return {part: Values(**{pool: tuple(some) for pool, some in pools.items()}) for part, pools in found.items()}


def cut(pools: Mapping[str, Sequence[Any]], seed: int) -> dict[str, dict[str, list[Any]]]:
    """For each part of the data, its share of every pool."""
    found: dict[str, dict[str, list[Any]]] = {part: {} for part in PARTS}
    for pool, strings in pools.items():
        every = list(strings)
        Random(f"{seed} {pool}").shuffle(every)
        ends = [round(end * len(every)) for end in accumulate(PARTS.values(), initial=0)]
        for part, (start, end) in zip(PARTS, pairwise(ends), strict=True):
            found[part][pool] = every[start:end]
    return found


def _words(value: Any) -> list[str]:
    return re.findall(r"\w+", str(value).lower())


def _pools(seed: int, reserved: frozenset[str]) -> dict[str, list[Any]]:
    try:
        from faker import Faker
    except ImportError:
        raise MissingDependencyError("generated data need Faker: install lilliput[dev]") from None

    taken = reserved | set(
        _words(f"{_KINDS} and sons brothers {' '.join((*calendar.month_name, *calendar.month_abbr))}")
    )

    def gather(locales: Sequence[str], kind: str, count: int) -> list[str]:
        drawn = set()
        for locale in locales:
            fake = Faker(locale)
            fake.seed_instance(f"{seed} {locale}")
            drawn |= {str(getattr(fake, kind)()) for _ in range(count)}
        names = {name for name in drawn if _NAME.fullmatch(name) and taken.isdisjoint(_words(name))}
        return sorted({name.lower(): name for name in sorted(names)}.values())

    return {
        "first": gather(_PEOPLE, "first_name", 400),
        "last": gather(_PEOPLE, "last_name", 600),
        "places": gather(_PLACES, "city", 250) + gather(["en_US"], "country", 600),
        "stems": [start + end for start in _STARTS.split() for end in _ENDS.split()],
        "years": list(_YEARS),
    }
