"""The ratios as a picture: SVG by hand, since a bar is a rectangle."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .ratios import Spread

LEFT, RIGHT, TOP, BOTTOM = 230, 60, 70, 40
WIDTH = 860
BAR, GAP = 11, 12
COLOURS = ("#2563eb", "#93b4f5")
INK, RULE = "#1f2937", "#d1d5db"


class Bars(NamedTuple):
    """One row: its name, and one ratio for each series."""

    name: str
    ratios: Sequence[Spread]


def svg(title: str, subtitle: str, series: Sequence[str], rows: Sequence[Bars]) -> str:
    """A horizontal bar for each ratio with its quartiles, and a line where both are equal."""
    height = TOP + len(rows) * (len(series) * BAR + GAP) + BOTTOM
    longest = max(1.25, *(spread.high for row in rows for spread in row.ratios)) * 1.02
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(20, 26, title, size=16, weight="600"),
        _text(20, 46, subtitle),
        *_legend(series),
        *_grid(scale, longest, height),
    ]
    y = TOP
    for row in rows:
        parts.append(_text(LEFT - 10, y + len(series) * BAR / 2 + 4, row.name, anchor="end"))
        for number, spread in enumerate(row.ratios):
            parts += _bar(spread, y + number * BAR, scale, COLOURS[number])
        y += len(series) * BAR + GAP
    return "\n".join([*parts, "</svg>", ""])


def _bar(spread: Spread, y: float, scale: float, colour: str) -> list[str]:
    end, middle = LEFT + spread.median * scale, y + (BAR - 1) / 2
    return [
        f'<rect x="{LEFT}" y="{y:.1f}" width="{spread.median * scale:.1f}" height="{BAR - 1}" fill="{colour}"/>',
        f'<path d="M{LEFT + spread.low * scale:.1f} {middle:.1f}H{LEFT + spread.high * scale:.1f}" stroke="{INK}"/>',
        _text(max(end, LEFT + spread.high * scale) + 5, y + BAR - 2, f"{spread.median:.2f}", size=10),
    ]


def _grid(scale: float, longest: float, height: int) -> list[str]:
    lines = []
    for quarter in range(int(longest * 4) + 1):
        x = LEFT + quarter / 4 * scale
        is_equal = quarter == 4
        colour, width = (INK, 1.5) if is_equal else (RULE, 1)
        lines.append(f'<path d="M{x:.1f} {TOP - 8}V{height - BOTTOM}" stroke="{colour}" stroke-width="{width}"/>')
        label = "the peer = 1" if is_equal else f"{quarter / 4:g}"
        lines.append(_text(x, height - BOTTOM + 18, label, anchor="middle"))
    return lines


def _legend(series: Sequence[str]) -> list[str]:
    parts = []
    for number, name in enumerate(series):
        x = WIDTH - RIGHT - 170 + number * 90
        parts.append(f'<rect x="{x}" y="16" width="12" height="12" fill="{COLOURS[number]}"/>')
        parts.append(_text(x + 17, 26, name))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "400") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
