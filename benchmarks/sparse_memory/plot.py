"""Plot: peak memory of every way at every batch, as bars on a logarithmic scale, written as SVG without a library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 130, 120, 16, 26, 44
LOWEST, HIGHEST = 1e5, 1e11
MARKS = (
    (1e5, "0.1 MB"),
    (1e6, "1 MB"),
    (1e7, "10 MB"),
    (1e8, "100 MB"),
    (1e9, "1 GB"),
    (1e10, "10 GB"),
    (1e11, "100 GB"),
)
GPU, GPU_NAME = 8e9, "an 8 GB GPU"
COLOURS = ("#c0392b", "#e08e45", "#7f8c8d", "#2e7d5b")


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Writes the SVG; bars with a dashed outline are computed."""
    parts: list[str] = []
    y = TOP
    for one in record["batches"]:
        parts.append(_text(LEFT, y - 6, f"{one['texts']} texts x {one['tokens']} tokens", weight="bold"))
        for (way, found), colour in zip(one["ways"].items(), COLOURS, strict=True):
            parts += _bar(way, found, colour, y)
            y += BAR + 4
        y += GAP
    height = y + 10
    lines = []
    for value, name in MARKS:
        x = _x(value)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 20}" y2="{height - 24}" stroke="#ddd"/>')
        lines.append(_text(x, height - 8, name, anchor="middle"))
    x = _x(GPU)
    lines.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 20}" y2="{height - 24}" stroke="#c0392b" stroke-dasharray="4 3"/>'
    )
    lines.append(_text(x, TOP - 26, GPU_NAME, anchor="middle"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">'
    path.write_text(
        "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *lines, *parts, "</svg>", ""])
    )


def _bar(way: str, found: Mapping[str, Any], colour: str, y: float) -> list[str]:
    size = max(found["bytes"], LOWEST)
    style = f'fill="none" stroke="{colour}" stroke-dasharray="3 2"' if found["computed"] else f'fill="{colour}"'
    width = max(1.0, _x(size) - LEFT)
    name = f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
    if found["computed"]:
        name += " (computed)"
    return [
        _text(LEFT - 6, y + 12, way, anchor="end"),
        f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" {style}/>',
        _text(LEFT + width + 4, y + 12, name),
    ]


def _x(value: float) -> float:
    share = (math.log10(value) - math.log10(LOWEST)) / (math.log10(HIGHEST) - math.log10(LOWEST))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
