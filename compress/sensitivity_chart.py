"""A picture of how much each layer's quantization matters, as an SVG image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

INK, MUTED, GRID, BLUE, ORANGE = "#1f2933", "#5f6b7a", "#e4e8ed", "#0072b2", "#d55e00"
"""Of the Okabe-Ito palette, which colour-blind readers can tell apart."""

NAME, BAR, FIGURES, ROW, TOP = 260, 320, 190, 18, 64
"""Pixels: widths of a layer's name, of a full bar and of the figures behind it; height of a row; room above."""

SHOWN = 60
"""Layers at most, the most sensitive ones."""


def picture(ranking: Sequence[Mapping[str, Any]], kept: Collection[str]) -> str:
    """A bar a layer, the most sensitive on top: the shorter the bar, the more noise.

    Args:
        ranking: rows of `lilliput.export.sensitivity.Sensitivity`, the most sensitive first; ``sqnr_db`` is None where
            quantization changes nothing (no flips), or where outputs are not finite (all flip).
        kept: layers that stay in float32.
    """
    rows = ranking[:SHOWN]
    longest = max((row["sqnr_db"] for row in rows if row["sqnr_db"] is not None), default=0.0)
    width, height = NAME + BAR + FIGURES, TOP + ROW * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(description(rows, kept))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(8, 20, "Signal to quantization noise of the outputs where a layer alone is quantized", INK, "bold"),
        _text(8, 40, f"short bars matter most; {len(rows)} of {len(ranking)} layers", MUTED),
        f'<rect x="{NAME}" y="31" width="10" height="10" fill="{BLUE}"/>' + _text(NAME + 15, 40, "quantized", INK),
        f'<rect x="{NAME + 100}" y="31" width="10" height="10" fill="{ORANGE}"/>',
        _text(NAME + 115, 40, "stays in float32", INK),
    ]
    for number, row in enumerate(rows):
        parts += _row(TOP + ROW * number, row, longest, ORANGE if row["layer"] in kept else BLUE)
    return "\n".join([*parts, "</svg>", ""])


def noise(row: Mapping[str, Any]) -> str:
    """A layer's signal to noise, in words."""
    if row["sqnr_db"] is not None:
        return f"{row['sqnr_db']:.1f} dB"
    return "outputs not finite" if row["flips"] else "no noise"


def description(rows: Sequence[Mapping[str, Any]], kept: Collection[str]) -> str:
    """The picture in words."""
    said = "; ".join(f"{row['layer']}: {noise(row)}" for row in rows[:10])
    return f"How much each layer's quantization matters, the most sensitive first. {said}. {len(kept)} stay in float32."


def _row(y: int, row: Mapping[str, Any], longest: float, colour: str) -> list[str]:
    share = 1.0 if row["sqnr_db"] is None and not row["flips"] else 0.0
    if row["sqnr_db"] is not None and longest > 0:
        share = max(0.0, row["sqnr_db"] / longest)
    name = row["layer"] if len(row["layer"]) <= 36 else "…" + row["layer"][-35:]
    return [
        _text(8, y + 11, name, MUTED),
        f'<rect x="{NAME}" y="{y}" width="{BAR}" height="13" fill="{GRID}"/>',
        f'<rect x="{NAME}" y="{y}" width="{BAR * share:.1f}" height="13" fill="{colour}"/>',
        _text(NAME + BAR + 8, y + 11, f"{noise(row)}, {row['flips']:.2%} flip", INK),
    ]


def _text(x: int, y: int, text: str, colour: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" font-weight="{weight}">{escape(text)}</text>'
