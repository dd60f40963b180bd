"""Brief: the few figures that the README shows, out of the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexical.engines.ours import INDEX

_KS = ("10", "100", "1000")


def brief(record: Mapping[str, Any], collections: tuple[str, ...] = ("generated-1000000", "texts-1000000")) -> str:
    """A table of median CPU milliseconds, an engine a line; collections that were not measured are left out."""
    measured = [record["collections"][name] for name in collections if name in record["collections"]]
    head = ["median CPU ms a query"]
    for one in measured:
        head += [f"{one['about']['title']}, top 10", *(f"top {k}" for k in _KS[1:]), "worst recall"]
    names = dict.fromkeys(name for one in measured for name in one["engines"])
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in names:
        cells = [f"**{name}**" if name in {"m3search", INDEX} else name]
        for one in measured:
            row = one["engines"].get(name)
            cells += _cells(row["k"]) if row else [""] * (len(_KS) + 1)
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(by_k: Mapping[str, Any]) -> list[str]:
    return [*(f"{by_k[k]['median_ms']:.2f}" for k in _KS), f"{min(by_k[k]['recall'] for k in _KS):.3f}"]
