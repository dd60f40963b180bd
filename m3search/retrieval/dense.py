"""DenseLeg: inner products with the stored vectors, proposed by FAISS and completed in float64.

Imports storage's readers, and numba on use. FAISS is handed the mapped vectors themselves, so a flat search needs no index in
memory. A segment with an HNSW or IVF index proposes from that, and the stored vectors score what it proposed; then the bound is
not proven. Where float32 says too little (huge or tiny numbers, one vector far longer than the others) the float64 products
themselves propose.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.proposals import proposals
from m3search.storage import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Segment, Snapshot

_FEW = 256  # so many are put in order while they are scored
_MOST = 0.6  # share of the vectors
_MARGIN, _SPARE = 1.25, 32  # more than as many as have enough allowed ones among them, if these are scattered
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST_NORMAL = 2.0**-126
_LARGEST = float(np.finfo(np.float32).max) / 2
_COARSE = 2.0**-10  # float32 proposes as long as its rounding is finer than this part of the best score


class DenseLeg:
    """Score = q . d in float64 over the stored float32 values."""

    name = "dense"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages; -inf as bound when none is left. All score 0 for a query without a vector."""
        slack = 0.0 if query.dense is None else _rounding(query.length, len(query.dense), snapshot.dense_norm)
        parts = [
            _search_segment(query, segment, bitmap, depth, slack)
            for segment, bitmap in zip(snapshot.segments, allowed, strict=True)
        ]
        return Candidates.merge(parts, depth)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact inner products f64[n]; 0 for a query without a vector."""
        scores = np.zeros(len(docids))
        if query.wide is not None:
            from m3search.retrieval.products import scores_of

            for segment, positions, rows in snapshot.split(docids):
                assert segment.vectors is not None
                scores[positions] = scores_of(query.wide, segment.vectors, rows)
        return scores


def inner_products(
    vector: NDArray[np.float32], matrix: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """f64[n] inner products of some rows, each summed alone and in one order."""
    from m3search.retrieval.products import scores_of

    return scores_of(vector.astype(np.float64), matrix, rows)


def rounding(vector: NDArray[np.float32], norm: float) -> float:
    """How far a float32 inner product, summed in any order, can be off: gamma_d |q| |d|, and what underflow takes.

    inf where it could overflow. Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1; the
    second term allows for a processor that is set to flush subnormal numbers to zero.
    """
    wide = vector.astype(np.float64)
    return _rounding(math.sqrt(wide @ wide), len(vector), norm)


def _rounding(length: float, dim: int, norm: float) -> float:
    if length * norm > _LARGEST:
        return np.inf
    steps = dim * _UNIT_ROUNDOFF
    return steps / (1 - steps) * length * norm + _SMALLEST_NORMAL * dim * (2 + length + norm)


def _search_segment(
    query: Query, segment: Segment, bitmap: NDArray[np.uint8] | None, depth: int, slack: float
) -> Candidates:
    vectors, base = segment.vectors, segment.base
    assert vectors is not None
    count = len(vectors) if bitmap is None else int(np.bitwise_count(bitmap).sum())
    if query.dense is not None and count > depth and 0 < slack < np.inf:
        found = None if segment.dense_index is None else _propose(query, segment, bitmap, count, depth, slack)
        if found is not None:
            return found
        # one more than the depth: the score that the cut leaves out is the bound
        rows, scores = nearest_allowed(query.dense, vectors, bitmap, count, depth + 1)
        if slack <= _COARSE * abs(scores[0]):
            return Candidates.top(rows + base, scores, depth, floor=-np.inf, slack=slack, postings=count)
    rows = rows_of(bitmap, len(vectors))
    scores = np.zeros(count) if query.dense is None else inner_products(query.dense, vectors, rows)
    return Candidates.top(rows + base, scores, depth, floor=-np.inf, postings=count, exact=True)


def _propose(
    query: Query, segment: Segment, bitmap: NDArray[np.uint8] | None, count: int, depth: int, slack: float
) -> Candidates | None:
    """What the segment's approximate index proposes, scored; None where an exhaustive search is to be made."""
    found = proposals(query, segment, bitmap, count, depth)
    if found is None or slack > _COARSE * abs(float(found.scores[0])):  # codes say even less than float32 does
        return None
    rows, scores, effort = found
    docids = rows[:depth]
    if segment.base:
        docids = docids + segment.base
    return Candidates(docids, scores[:depth], float(scores[depth]), 0.0, len(rows), effort, exact=True)


def nearest_allowed(
    vector: NDArray[np.float32], vectors: NDArray[np.float32], bitmap: NDArray[np.uint8] | None, count: int, depth: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `exhaustive` gives them; where most of the vectors are allowed, by a search of all.

    FAISS takes twice as long for a vector when it has to ask whether it is allowed, and has to ask.
    """
    if bitmap is not None and count > _MOST * len(vectors):
        asked = min(len(vectors), _SPARE + math.ceil(_MARGIN * depth * len(vectors) / count))
        rows, scores = exhaustive(vector, vectors, None, asked)
        kept = np.flatnonzero(bitmap[rows >> 3] >> (rows & 7) & 1)[:depth]
        if len(kept) == depth:
            return rows[kept], scores[kept]
    return exhaustive(vector, vectors, bitmap, depth)


def exhaustive(
    vector: NDArray[np.float32], vectors: NDArray[np.float32], bitmap: NDArray[np.uint8] | None, depth: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """FAISS's exhaustive search over mapped vectors: rows and float32 scores of the best `depth`, which are there."""
    import faiss

    scores, rows = np.empty(depth, np.float32), np.empty(depth, np.int64)
    selector = None if bitmap is None else faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
    faiss.knn_inner_product(
        faiss.swig_ptr(vector),
        faiss.swig_ptr(vectors),
        vectors.shape[1],
        1,
        len(vectors),
        depth,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(rows),
        selector,
    )
    return rows, scores.astype(np.float64)
