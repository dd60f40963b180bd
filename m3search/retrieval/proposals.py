"""Proposals: the passages that a segment's approximate index names, and when it is better not asked.

Imports storage's readers, and numba on use. Invariant: it gives more than `depth` passages, all of them allowed, or nothing; a
segment that it gives nothing for is scored exhaustively, so there are as many results as a search of every vector has.

A filter hides what a search comes by: where one passage in ten is allowed, ten times as many are looked at. What counts is how
many are allowed near the query, not only how many are anywhere: deleted documents of one topic, or a filter that keeps a query
out of its own, would else leave a search looking where nothing is allowed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from m3search.storage import proposed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from m3search.retrieval.query import Query
    from m3search.storage import DenseIndex, Segment

_MEASURED_DEPTH = 100
"""The depth that a segment's "dense_effort" was chosen for."""

_MOSTLY = 0.5  # where at least this share is allowed near the query, a search that ignores the filter finds enough
_ROOM = 1.1  # for the allowed being a little rarer there

# Nanoseconds on one core of a Zen 4 machine, by benchmarks/dense.py --costs; only their proportions matter.
_VECTOR_A_NUMBER = 0.15  # scoring one vector after the other
_ALLOWED_A_NUMBER = 0.5  # scoring those of a bitmap, here and there
_BIT = 1.5  # looking at a passage's bit
_CODE_A_NUMBER = 0.15  # scoring the codes of a list
_LINK, _LINK_A_NUMBER = 40.0, 0.22  # following a link of the graph, and scoring the code at its end


class Proposed(NamedTuple):
    """Passages that an index proposed, best first.

    Attributes:
        rows: i64[n], numbers in the segment, ordered by (-score, row).
        scores: f64[n], exact.
        effort: nprobe or efSearch.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    effort: int


def proposals(
    query: Query, segment: Segment, bitmap: NDArray[np.uint8] | None, count: int, depth: int
) -> Proposed | None:
    """More than `depth` likely best passages of a segment; None where an exhaustive search is to be made.

    Args:
        query: with a vector; its effort is that of an unfiltered search; if it has none, it is what was measured at the build,
            more for a greater depth.
        segment: with a dense index.
        bitmap: the passages that may be found, packed; None: all.
        count: how many these are, more than `depth`.
        depth: how many are wanted.
    """
    index, passages, effort = segment.dense_index, segment.info.passages, query.dense_effort
    assert index is not None
    wanted = proposed(depth)
    if effort is None:
        effort = math.ceil(segment.info.statistics["dense_effort"] * max(1.0, depth / _MEASURED_DEPTH))
    elif (
        index.kind == "hnsw" and effort < wanted
    ):  # the user's word: a walk that keeps fewer in view has no more to give
        wanted = max(effort, depth + 1)
    wanted, effort = min(wanted, count), min(effort, passages)
    share = count / passages
    if bitmap is not None and not _exhaustive_is_cheaper(index, passages, count, math.ceil(effort / share)):
        found, looked = _unfiltered(query, segment, index, bitmap, wanted, effort, max(share, _MOSTLY))
        if len(found.rows) > depth:
            return found
        share = min(share, max(len(found.rows), 0.5) / max(looked, 1))
    raised = index.limited(math.ceil(effort / share), wanted)
    while not _exhaustive_is_cheaper(index, passages, count, raised):
        found = _nearest(query, segment, index, wanted, raised, bitmap)
        if len(found.rows) > depth:
            return found
        if raised == index.limited(2 * raised, wanted):
            break
        raised = index.limited(2 * raised, wanted)
    return None


def _unfiltered(
    query: Query,
    segment: Segment,
    index: DenseIndex,
    bitmap: NDArray[np.uint8],
    wanted: int,
    effort: int,
    share: float,
) -> tuple[Proposed, int]:
    """The allowed among the nearest passages, so many that `wanted` are there if this share is allowed near the query.

    Returns:
        What is allowed, and among how many that was.
    """
    asked = min(math.ceil(_ROOM * wanted / share), index.passages)
    rows, scores, used = _nearest(query, segment, index, asked, index.limited(math.ceil(effort / share), asked), None)
    allowed = (bitmap[rows >> 3] >> (rows & 7) & 1).astype(bool)
    return Proposed(rows[allowed], scores[allowed], used), len(rows)


def _nearest(
    query: Query, segment: Segment, index: DenseIndex, wanted: int, effort: int, bitmap: NDArray[np.uint8] | None
) -> Proposed:
    from m3search.retrieval.products import LARGEST_EFFORT, scores_of, walked

    vector, wide, vectors = query.dense, query.wide, segment.vectors
    assert vector is not None
    assert wide is not None
    assert vectors is not None
    if bitmap is None and index.kind == "hnsw" and effort <= LARGEST_EFFORT:
        return Proposed(*walked(vector, wide, vectors, index, wanted, effort), effort)
    rows = index.nearest(vector, wanted, effort, bitmap)
    return Proposed(rows, scores_of(wide, vectors, rows, ordered=True), effort)


def _exhaustive_is_cheaper(index: DenseIndex, passages: int, count: int, effort: int) -> bool:
    exhaustive = _BIT * passages + _ALLOWED_A_NUMBER * index.dim * count
    if count == passages:
        exhaustive = _VECTOR_A_NUMBER * index.dim * passages
    if index.kind == "hnsw":
        return exhaustive < effort * index.fan_out * (_LINK + _LINK_A_NUMBER * index.dim)
    part = min(1.0, effort / index.fan_out)
    codes = index.fan_out + part * count  # those of the lists' centers are not smaller than vectors, but lie together
    return exhaustive < _BIT * passages * part + _CODE_A_NUMBER * index.dim * codes
