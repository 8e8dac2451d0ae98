"""Two kinds of chart as SVG, written by hand: bars in panels, and ranges on a logarithmic scale.

Rows are the same in all panels of a chart, so that a server is found on one line. What is written depends on the
figures alone, so that a chart can be compared with what it should be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LABELS, _PANEL, _GAP, _ROW, _HEAD, _FOOT = 210, 230, 26, 20, 34, 26
_CHARACTER = 7.5
"""About as wide as a character of a title."""

_INK, _FAINT, _OURS, _OTHERS, _CEILING = "#1f2933", "#d5dbe1", "#0b6e99", "#9fb1bf", "#e8b04b"
_COLOURS = {"ours": _OURS, "other": _OTHERS, "ceiling": _CEILING}


@dataclass(frozen=True, slots=True)
class Row:
    """One server's figures, a value or a range per panel; None where it has none. ``kind`` chooses the colour."""

    label: str
    kind: str
    values: tuple[tuple[float, ...] | None, ...]


def bar_chart(title: str, panels: Sequence[str], rows: Sequence[Row]) -> str:
    """A bar for each row in each panel, from zero to the row's value; every panel has its own scale."""
    parts = _frame(title, panels, rows)
    for column, _ in enumerate(panels):
        present = [values[0] for row in rows if (values := row.values[column])]
        scale = (_PANEL - 70) / max(present, default=1.0)
        for place, row in enumerate(rows):
            x, y = _panel_x(column), _row_y(place)
            values = row.values[column]
            if values is None:
                parts.append(_text(x, y + 14, "failed", _OTHERS))
                continue
            width = max(1.0, values[0] * scale)
            shape = f'x="{x}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 6}"'
            parts.append(f'<rect {shape} fill="{_COLOURS[row.kind]}"/>')
            parts.append(_text(x + width + 5, y + 14, _number(values[0])))
    return _document(parts)


def range_chart(title: str, panels: Sequence[str], rows: Sequence[Row]) -> str:
    """For each row a line from its first to its last value with a mark at each, on one logarithmic scale."""
    everything = [value for row in rows for values in row.values if values for value in values]
    first, last = _decades(everything)
    scale = (_PANEL - 10) / (last - first)
    parts = _frame(title, panels, rows)

    def at(column: int, value: float) -> float:
        return _panel_x(column) + (math.log10(max(value, 10.0**first)) - first) * scale

    for column, _ in enumerate(panels):
        for decade in range(first, last + 1):
            x, bottom = at(column, 10.0**decade), _row_y(len(rows))
            parts.append(f'<line x1="{x:.1f}" y1="{_HEAD + 22}" x2="{x:.1f}" y2="{bottom}" stroke="{_FAINT}"/>')
            parts.append(_text(x, bottom + 14, f"{10.0**decade:g}", anchor="middle"))
        for place, row in enumerate(rows):
            y = _row_y(place) + _ROW / 2
            values = row.values[column]
            if values is None:
                parts.append(_text(_panel_x(column), y + 4, "failed", _OTHERS))
                continue
            places, colour = [at(column, value) for value in values], _COLOURS[row.kind]
            ends = f'x1="{places[0]:.1f}" y1="{y}" x2="{places[-1]:.1f}" y2="{y}"'
            parts.append(f'<line {ends} stroke="{colour}" stroke-width="3"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{colour}"/>' for x in places]
    return _document(parts)


def _frame(title: str, panels: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Size, title, heads of the panels and labels of the rows."""
    width = max(_panel_x(len(panels)) - _GAP + 20, round(len(title) * _CHARACTER) + 20)
    height = _row_y(len(rows)) + _FOOT
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    look = f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {look}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(10, 20, title, weight="bold"),
    ]
    parts += [_text(_panel_x(column), _HEAD + 14, panel, weight="bold") for column, panel in enumerate(panels)]
    parts += [_text(_LABELS - 8, _row_y(place) + 14, row.label, anchor="end") for place, row in enumerate(rows)]
    return parts


def _document(parts: Sequence[str]) -> str:
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel_x(column: int) -> int:
    return _LABELS + column * (_PANEL + _GAP)


def _row_y(place: int) -> int:
    return _HEAD + 22 + place * _ROW


def _text(x: float, y: float, text: str, colour: str = _INK, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" fill="{colour}"'
    return f'<text {place} text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that enclose all values; at least one decade."""
    if not values:
        return 0, 1
    first = math.floor(math.log10(max(min(values), 1e-3)))
    return first, max(first + 1, math.ceil(math.log10(max(values))))
