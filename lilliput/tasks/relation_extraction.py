"""How two marked entities of a text are related."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lilliput.errors import InputError
from lilliput.tasks import LABEL_COLUMNS, MALFORMED, TEXT_COLUMNS, Column, RowFault, label, text
from lilliput.tasks.classification import Classification

MARKERS = ("[E1]", "[/E1]", "[E2]", "[/E2]")
MISSING = "entity that is not marked"
UNBALANCED = "entity markers that do not pair"
OVERLAPPING = "overlapping entities"
EMPTY = "empty entity"
BEYOND = "entity beyond the text"
MARKED_TWICE = "entities both marked and in columns"

_ENTITY = re.compile(r"(?<![^\W_])([eE])([12])(?![^\W_])")  # in the name of a label
_MARKER = re.compile(r"<(/?)[eE]([12])>|\[(/?)[eE]([12])\]")


class RelationExtraction(Classification):
    """Classification of a text in which two entities are marked: ``[E1] Marie [/E1] came from [E2] Warsaw [/E2]``.

    ``<e1>…</e1>`` is read too (SemEval 2010 task 8), and so is plain text with two columns of characters
    ``[start, end]``, the last one not included. The markers become tokens of the vocabulary; the classifier reads
    [CLS]. Labels that name both directions of a relation, as in SemEval (``founder-of(e1,e2)`` and
    ``founder-of(e2,e1)``), start out as opposites: which entity is which is then learned once, not for each relation.

    References: Baldini Soares et al. 2019, Matching the Blanks, figure 3(d): entity markers and [CLS]. Hendrickx et al.
    2010, SemEval-2010 Task 8: labels with directions.
    """

    name = "relation-extraction"
    metric = "macro_f1"
    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(TEXT_COLUMNS),
        "head": Column(("head", "entity1", "e1", "subject"), required=False),
        "tail": Column(("tail", "entity2", "e2", "object"), required=False),
        "label": Column(("relation", *LABEL_COLUMNS)),
    }
    inputs = ("text",)
    new_tokens = MARKERS

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """The text with its four markers, and the name of the relation."""
        text(cells["text"])
        given: str = cells["text"]  # as it is: the columns count its characters
        if cells.get("head") not in (None, "") or cells.get("tail") not in (None, ""):
            given = _mark(given, _span(cells, "head", given), _span(cells, "tail", given))
        return marked(given), label(cells["label"]) if "label" in cells else None

    def opposites(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """Both directions of a relation, where their labels differ in the order of ``e1`` and ``e2`` alone."""
        places = {name: place for place, name in enumerate(names)}
        found = [(name, _ENTITY.sub(lambda match: f"{match[1]}{3 - int(match[2])}", name)) for name in names]
        first = {name for name in names if (match := _ENTITY.search(name)) and match[2] == "1"}
        return [(places[name], places[swapped]) for name, swapped in found if name in first and swapped in places]

    def asked(self, *given: Any, **parts: Any) -> tuple[list[Any], bool]:
        """Texts with their markers, in our form."""
        items, single = super().asked(*given, **parts)
        return [_asked(item, number) for number, item in enumerate(items)], single


TASK = RelationExtraction()


def marked(given: str) -> str:
    """``given`` with the four markers in our form, each once, and a space between a marker and its entity.

    Raises:
        RowFault: a marker is missing, comes twice or in the wrong place, or an entity is empty.
    """
    found = _MARKER.sub(lambda match: f" [{match[1] or match[3] or ''}E{match[2] or match[4]}]", given)
    found = re.sub(r"(\[E[12]\])", r"\1 ", found)
    pieces = re.split(r"(\[/?E[12]\])", " ".join(found.split()))  # text, marker, text, marker ... text
    markers, between = pieces[1::2], pieces[2::2]
    if not set(MARKERS) <= set(markers):
        raise RowFault(MISSING)
    if len(markers) > len(MARKERS):
        raise RowFault(UNBALANCED)
    if markers not in ([*MARKERS], [*MARKERS[2:], *MARKERS[:2]]):
        kinds = [marker.strip("[/]") for marker in markers]
        nested = all(markers.index(f"[{kind}]") < markers.index(f"[/{kind}]") for kind in set(kinds))
        raise RowFault(OVERLAPPING if nested else UNBALANCED)
    if not between[0].strip() or not between[2].strip():
        raise RowFault(EMPTY)
    return "".join(pieces)


def _asked(given: str, number: int) -> str:
    try:
        return marked(given)
    except RowFault as fault:
        raise InputError(f"item {number}: {fault}; write [E1] … [/E1] and [E2] … [/E2] around the two") from None


def _span(cells: Mapping[str, Any], role: str, given: str) -> tuple[int, int]:
    """First character of an entity, and the one after its last."""
    value = cells.get(role)
    if value in (None, ""):
        raise RowFault(MISSING)
    try:
        start, end = json.loads(f"[{value.strip('[]() ')}]") if isinstance(value, str) else value
    except (ValueError, TypeError):
        raise _no_span(role, value) from None
    if type(start) is not int or type(end) is not int:
        raise _no_span(role, value)
    if not 0 <= start <= end <= len(given):
        raise RowFault(BEYOND)
    return start, end


def _no_span(role: str, value: Any) -> RowFault:
    return RowFault(MALFORMED, f"the {role} is {str(value)[:40]!r}, not two whole numbers such as [0, 5]")


def _mark(given: str, head: tuple[int, int], tail: tuple[int, int]) -> str:
    """The text with markers around two spans of characters."""
    if _MARKER.search(given):
        raise RowFault(MARKED_TWICE)
    if head[0] < tail[1] and tail[0] < head[1]:
        raise RowFault(OVERLAPPING)
    around: Sequence[tuple[tuple[int, int], str]] = sorted([(head, "E1"), (tail, "E2")], reverse=True)
    for (start, end), name in around:
        given = f"{given[:start]}[{name}]{given[start:end]}[/{name}]{given[end:]}"
    return given
