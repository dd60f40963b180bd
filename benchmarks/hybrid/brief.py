"""Brief: the few figures that docs/planner.md shows, out of the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.markdown import ms, table

from hybrid.targets import OURS

OVERLAPS = (0.95, 0.99, 0.999)
_WORDS = {"generated documents": "generated", "dimensions": "dim"}


def brief(record: Mapping[str, Any]) -> str:
    """An engine a line, a collection a column: the median CPU milliseconds at each overlap, and the largest overlap."""
    collections = record["collections"]
    names = dict.fromkeys(name for one in collections for name in one["engines"])
    rows = [
        (f"**{name}**" if name.startswith(OURS) else name, *(_cell(one["engines"].get(name)) for one in collections))
        for name in names
    ]
    head = ("median CPU ms at overlap .95 / .99 / .999; largest overlap", *(_title(one) for one in collections))
    return table(head, rows, numbers=range(1, len(head)))


def _title(collection: Mapping[str, Any]) -> str:
    title: str = collection["about"]["title"]
    for long, short in _WORDS.items():
        title = title.replace(long, short)
    return title


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    points = row["points"].values()
    times = [[point["median_ms"] for point in points if point["overlap"] >= one] for one in OVERLAPS]
    largest = max(point["overlap"] for point in points)
    return f"{' / '.join(ms(min(some)) if some else '-' for some in times)}; {largest:.4f}"
