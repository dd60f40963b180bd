"""Terminal: what the commands print, and where."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from m3search.records import Hit, Hits

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text for people.")]


def print_json(value: object) -> None:
    """One JSON value on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n")
    sys.stdout.flush()


def output() -> Console:
    """Standard output, for tables."""
    from rich.console import Console

    return Console(highlight=False)


def note(text: str) -> None:
    """A line for people on standard error."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """An error on standard error."""
    from rich.console import Console
    from rich.text import Text

    line = Text("error: ", style="bold red")
    Console(stderr=True, highlight=False).print(line.append(text, style="not bold default"), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], title: str = "") -> None:
    """A table on standard output.

    Args:
        columns: their names; one that ends in ``>`` is set flush right and never wrapped.
        rows: cells; markup in a str is shown, not obeyed.
        title: stands above.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.rstrip(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    screen = output()
    if title:
        screen.print(Text(title, style="italic"), soft_wrap=True)
    screen.print(table)


def print_hits(hits: Hits, title: str) -> None:
    """The hits as a table: score, what each leg gave to it, id, and the beginning of the best passage."""
    if not hits:
        output().print(f"{title}: no hits", markup=False)
        return
    legs = list(hits[0].parts)
    rows: list[list[str | Text]] = [
        [str(hit.rank), f"{hit.score:.4f}", *(f"{hit.parts[leg]:.4f}" for leg in legs), _described(hit)] for hit in hits
    ]
    print_table(["#>", "score>", *(f"{leg}>" for leg in legs), "document"], rows, title)
    output().print(f"{len(hits)} hits, {hits.guarantee}\n", markup=False)


def _described(hit: Hit) -> Text:
    """The id, and below it the title and the snippet, what counted in bold."""
    from rich.text import Text

    text = Text(hit.id, style="bold").append("\n")
    if hit.title.strip():
        text.append(" ".join(f"{hit.title} ".split()) + " ", style="not bold italic")
    for number, part in enumerate(hit.snippet.marked("\0", "\0").split("\0")):
        text.append(part, style="bold" if number % 2 else "not bold dim")
    return text


def readable_bytes(count: float) -> str:
    """``1.4 MB``: powers of 1,000."""
    if count < 1000:
        return f"{count:.0f} bytes"
    units = ("kB", "MB", "GB", "TB")
    power = min(int(math.log10(count) // 3), len(units))
    return f"{count / 1000**power:.1f} {units[power - 1]}"


def readable_seconds(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "less than a second"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plain(value: object) -> Any:  # noqa: ANN401 - JSON-like values
    """A value of `info` as one cell."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ("; " if any(isinstance(inner, dict) for inner in value) else ", ").join(map(plain, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
