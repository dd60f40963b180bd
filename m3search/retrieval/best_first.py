"""Best first: the order of answers, (-score, docid), in a compiled loop.

Imports numba. Scores spread over buckets of equal width are nearly in order after one pass; what shares a bucket is sorted
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.retrieval.compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEW = 16


@compiled
def best_first(docids: NDArray[np.uint32], scores: NDArray[np.float64], depth: int) -> int:
    """Puts the best `depth` to the front, in order: how many there are.

    Args:
        docids: u32[n], distinct; the rest is left in some order.
        scores: f64[n], goes along.
        depth: how many are wanted.
    """
    count = len(docids)
    if count > _FEW:
        _spread(docids, scores)
    else:
        _insert(docids, scores, 0, count)
    return min(count, depth)


@compiled
def _spread(docids: NDArray[np.uint32], scores: NDArray[np.float64]) -> None:
    count = len(docids)
    highest, lowest = scores[0], scores[0]
    for place in range(count):
        highest, lowest = max(highest, scores[place]), min(lowest, scores[place])
    buckets = 1
    while buckets < 2 * count and buckets < 2**16:
        buckets *= 2
    width = (highest - lowest) / buckets
    scale = 1 / width if width > 0 and np.isfinite(1 / width) else 0.0
    ends = np.zeros(buckets + 1, np.int64)
    bucket_of = np.empty(count, np.int32)
    for place in range(count):
        bucket = min(int((highest - scores[place]) * scale), buckets - 1)
        bucket_of[place] = bucket
        ends[bucket + 1] += 1
    for bucket in range(buckets):
        ends[bucket + 1] += ends[bucket]
    old_docids, old_scores = docids.copy(), scores.copy()
    places = ends[:-1].copy()
    for place in range(count):
        bucket = bucket_of[place]
        docids[places[bucket]], scores[places[bucket]] = old_docids[place], old_scores[place]
        places[bucket] += 1
    for bucket in range(buckets):
        first, last = ends[bucket], ends[bucket + 1]
        if last - first > _FEW:
            _sort(docids, scores, first, last)
        elif last - first > 1:
            _insert(docids, scores, first, last)


@compiled
def _insert(docids: NDArray[np.uint32], scores: NDArray[np.float64], first: int, last: int) -> None:
    for place in range(first + 1, last):
        docid, score = docids[place], scores[place]
        hole = place
        while hole > first and (scores[hole - 1] < score or (scores[hole - 1] == score and docids[hole - 1] > docid)):
            docids[hole], scores[hole] = docids[hole - 1], scores[hole - 1]
            hole -= 1
        docids[hole], scores[hole] = docid, score


@compiled
def _sort(docids: NDArray[np.uint32], scores: NDArray[np.float64], first: int, last: int) -> None:
    """By docid, then by falling score without losing that order."""
    by_docid = np.argsort(docids[first:last])
    some_docids, some_scores = docids[first:last][by_docid], scores[first:last][by_docid]
    by_score = np.argsort(-some_scores, kind="mergesort")
    docids[first:last], scores[first:last] = some_docids[by_score], some_scores[by_score]
