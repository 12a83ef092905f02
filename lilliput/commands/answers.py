"""Answers of models as lines for people, told apart by their form: that of transformers' pipelines."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 80
"""Characters of an input that are repeated beside its answer."""
FEW = 5
"""Labels, and numbers of a vector, that are shown."""


def line(text: str, answer: Any) -> str:
    """The answer to ``text``, a tab, and the text; entities are shown in the text itself, in brackets."""
    whole = text.replace("\n", " ")
    shown = whole if len(whole) <= WIDTH else whole[: WIDTH - 1] + "…"
    if isinstance(answer, list) and any(isinstance(part, dict) and _kind(part) for part in answer):
        return in_brackets(text, answer)
    return f"{_said(answer)}\t{shown}"


def in_brackets(text: str, entities: list[dict[str, Any]]) -> str:
    """``[Marie Curie PER] was born in [Warsaw LOC]``: the entities of a text, where they stand."""
    pieces, end = [], 0
    for entity in sorted(entities, key=lambda one: one["start"]):
        pieces += [text[end : entity["start"]], f"[{text[entity['start'] : entity['end']]} {_kind(entity)}]"]
        end = entity["end"]
    return "".join([*pieces, text[end:]]).replace("\n", " ")


def _kind(entity: dict[str, Any]) -> Any:
    return entity.get("entity_group", entity.get("entity"))


def _said(answer: Any) -> str:
    if isinstance(answer, dict) and "score" in answer:
        return f"{_name(answer)}\t{answer['score']:.4f}"
    if isinstance(answer, list) and not answer:
        return "(none)"
    if isinstance(answer, list) and all(isinstance(part, float) for part in answer):
        return " ".join(f"{number:.4f}" for number in answer[:FEW]) + f" … ({len(answer)} numbers)"
    if isinstance(answer, list) and all(isinstance(part, list) for part in answer):
        return " | ".join(_said(part) for part in answer)
    if isinstance(answer, list) and all(isinstance(part, dict) and "score" in part for part in answer):
        more = f" and {len(answer) - FEW} more" if len(answer) > FEW else ""
        return ", ".join(f"{_name(part)} {part['score']:.4f}" for part in answer[:FEW]) + more
    return json.dumps(answer, ensure_ascii=False)


def _name(answer: dict[str, Any]) -> str:
    """What is said with a score: a label, an answer, a word."""
    found = next((str(answer[key]) for key in ("label", "answer", "token_str") if key in answer), "")
    return " ".join(found.split()) or "(none)"
