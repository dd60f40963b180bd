"""Markdown: tables, and how their numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int]) -> str:
    """A table; the columns `numbers` are set to the right."""
    right = set(numbers)
    rule = "".join("---:|" if column in right else "---|" for column in range(len(head)))
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{rule}", *lines[1:], ""])


def ms(value: float) -> str:
    """Milliseconds: as many digits as mean something."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
