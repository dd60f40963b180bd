"""Targets: what the dense leg was asked to reach, and whether it does.

Invariant: a verdict is given only at the size that the target names; at another size the figure stands alone. Latency at a
recall is read off the line through an engine's points, in the logarithm of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLAT, OURS, HNSWLIB = "flat", ("m3search hnsw", "m3search ivf"), "hnswlib M=16"
RECALLS = (0.9, 0.95, 0.98)
WANTED_RECALL = 0.95
FASTER_THAN_FLAT, LARGE = 20, 1_000_000
TIME_OF_HNSWLIB, MEMORY_OF_HNSWLIB, SMALL = 1.3, 0.4, 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    what: str
    asked: str
    found: str


def latency(row: Mapping[str, Any], recall: float) -> float | None:
    """Median ms at this recall; None where the engine does not reach it.

    Where its least effort finds more already, that is its latency.
    """
    points = [(one["recall"], one["median_ms"]) for one in row["efforts"].values()]
    points.sort()
    recalls, times = np.array(points).T
    if recalls[-1] < recall:
        return None
    # of settings that find no more for a longer time none is on the line
    on_it = times <= np.minimum.accumulate(times[::-1])[::-1]
    return float(np.exp(np.interp(recall, recalls[on_it], np.log(times[on_it]))))


def lines(collections: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Every target that these results have a figure for."""
    made: list[Line] = []
    for collection in collections:
        engines, passages = collection["engines"], collection["passages"]
        made += [_faster(name, engines, passages) for name in OURS if name in engines and FLAT in engines]
        if OURS[0] in engines and HNSWLIB in engines:
            made += _beside_hnswlib(engines, passages)
    return made


def _faster(name: str, engines: Mapping[str, Any], passages: int) -> Line:
    flat = next(iter(engines[FLAT]["efforts"].values()))["median_ms"]
    own = latency(engines[name], WANTED_RECALL)
    what = f"{name}, {passages:,} vectors, recall@10 {WANTED_RECALL}: times faster than flat"
    figure = 0.0 if own is None else flat / own
    return Line(what, f">= {FASTER_THAN_FLAT}", _figure(figure, figure >= FASTER_THAN_FLAT, passages == LARGE, 1))


def _beside_hnswlib(engines: Mapping[str, Any], passages: int) -> list[Line]:
    made = []
    ours, its = engines[OURS[0]], engines[HNSWLIB]
    for recall in RECALLS:
        times = latency(ours, recall), latency(its, recall)
        if times[0] is not None and times[1] is not None:
            figure = times[0] / times[1]
            found = _figure(figure, figure <= TIME_OF_HNSWLIB, passages == SMALL)
            made.append(Line(_what(passages, f"time, recall@10 {recall}"), f"<= {TIME_OF_HNSWLIB}", found))
    share = ours["bytes"] / its["bytes"]
    found = _figure(share, share <= MEMORY_OF_HNSWLIB, passages == SMALL)
    made.append(Line(_what(passages, "index memory"), f"<= {MEMORY_OF_HNSWLIB}", found))
    return made


def _what(passages: int, what: str) -> str:
    return f"{OURS[0]} / {HNSWLIB}, {passages:,} vectors: {what}"


def _figure(figure: float, holds: bool, asked_here: bool, digits: int = 2) -> str:
    verdict = ("reached" if holds else "missed") if asked_here else "not its size"
    return f"{figure:,.{digits}f} ({verdict})"
