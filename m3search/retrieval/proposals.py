"""Proposals: the passages that a segment's approximate index names, and when it is better not asked.

Imports storage's readers. Invariant: it gives more than `depth` passages, all of them allowed, or nothing; a segment that it
gives nothing for is scored exhaustively, so there are as many results as a search of every vector has.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from m3search.storage import proposed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from m3search.storage import DenseIndex, Segment

_MEASURED_DEPTH = 100
"""The depth that a segment's "dense_effort" was chosen for."""

# Nanoseconds on one core of a Zen 4 machine, by benchmarks/dense.py --costs; only their proportions matter.
_SCAN_A_PASSAGE = 1.5  # looking at a bit of the bitmap
_SCAN_A_NUMBER = 0.5  # of an allowed vector, read from a random place
_CODE_A_NUMBER = 0.25  # of a code in a list
_LINK, _LINK_A_NUMBER = 60.0, 0.2  # following a link of the graph, and scoring the code at its end


def proposals(
    vector: NDArray[np.float32],
    segment: Segment,
    bitmap: NDArray[np.uint8] | None,
    count: int,
    depth: int,
    effort: int | None,
) -> tuple[NDArray[np.int64], int] | None:
    """Likely best passages i64[> depth] of a segment, in no order, and the effort that found them.

    Args:
        vector: f32[dim].
        segment: with a dense index.
        bitmap: the passages that may be found, packed; None: all.
        count: how many these are, more than `depth`.
        depth: how many are wanted.
        effort: of an unfiltered search, as the user wants it; None: as was measured at the build, more for a greater depth.
    """
    index = segment.dense_index
    assert index is not None
    passages = segment.info.passages
    wanted = min(proposed(depth), count)
    if effort is None:
        effort = math.ceil(segment.info.statistics["dense_effort"] * max(1.0, depth / _MEASURED_DEPTH))
    # a filter hides what the walk comes by: where one in ten is allowed, ten times as many are looked at
    raised = index.limited(math.ceil(effort * passages / count), wanted)
    while not _exhaustive_is_cheaper(index, passages, count, raised):
        rows = index.nearest(vector, wanted, raised, bitmap)
        if len(rows) > depth:
            return rows, raised
        if raised == index.limited(2 * raised, wanted):
            break
        raised = index.limited(2 * raised, wanted)
    return None


def _exhaustive_is_cheaper(index: DenseIndex, passages: int, count: int, effort: int) -> bool:
    exhaustive = _SCAN_A_PASSAGE * passages + _SCAN_A_NUMBER * index.dim * count
    if index.kind == "hnsw":
        return exhaustive < effort * index.fan_out * (_LINK + _LINK_A_NUMBER * index.dim)
    looked_at = min(1.0, effort / index.fan_out)
    approximate = _SCAN_A_PASSAGE * passages * looked_at + _CODE_A_NUMBER * index.dim * (
        count * looked_at + index.fan_out
    )
    return exhaustive < approximate
