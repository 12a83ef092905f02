"""A picture of what is left of each block: heads and neurons of some models, as an SVG image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from lilliput.benchmarks.chart import BLUE, GRID, INK, MUTED, ORANGE

PANEL, BAR, ROW, TOP, LEFT = 250, 150, 30, 56, 64
"""Pixels: width of a model's panel and of a full bar, height of a block, and room above and on the left."""


def picture(models: Mapping[str, Sequence[Sequence[int]]], heads: int, neurons: int) -> str:
    """Bars of the heads (above) and neurons (below) that stay, a row a block, a panel a model.

    Args:
        models: name -> ``[heads, neurons]`` of each block, first to last.
        heads, neurons: of a block of the unpruned model: the full bars.
    """
    depth = max(map(len, models.values()))
    width, height = LEFT + PANEL * len(models), TOP + ROW * depth + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(description(models))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _key(LEFT),
    ]
    parts += [_text(8, TOP + ROW * block + 17, f"block {block}", MUTED) for block in range(depth)]
    for number, (name, blocks) in enumerate(models.items()):
        x = LEFT + PANEL * number
        parts.append(_text(x, TOP - 12, name, INK, weight="bold"))
        for block, (kept_heads, kept_neurons) in enumerate(blocks):
            y = TOP + ROW * block
            parts += _bar(x, y, kept_heads, heads, BLUE) + _bar(x, y + 12, kept_neurons, neurons, ORANGE)
    return "\n".join([*parts, "</svg>", ""])


def description(models: Mapping[str, Sequence[Sequence[int]]]) -> str:
    """The picture in words."""
    said = (f"{name}: " + ", ".join(f"{h} and {f}" for h, f in blocks) for name, blocks in models.items())
    return "Attention heads and feed-forward neurons that stay in each block. " + "; ".join(said) + "."


def _key(x: int) -> str:
    return (
        f'<rect x="{x}" y="10" width="10" height="10" fill="{BLUE}"/>{_text(x + 15, 19, "heads", INK)}'
        f'<rect x="{x + 70}" y="10" width="10" height="10" fill="{ORANGE}"/>{_text(x + 85, 19, "neurons", INK)}'
    )


def _bar(x: int, y: int, kept: int, whole: int, colour: str) -> list[str]:
    return [
        f'<rect x="{x}" y="{y}" width="{BAR}" height="10" fill="{GRID}"/>',
        f'<rect x="{x}" y="{y}" width="{BAR * kept / whole:.1f}" height="10" fill="{colour}"/>',
        _text(x + BAR + 6, y + 9, f"{kept:,}", INK, size=10),
    ]


def _text(x: int, y: int, text: str, colour: str, *, size: int = 12, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" font-weight="{weight}">{escape(text)}</text>'
