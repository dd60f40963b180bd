"""DenseLeg: inner products with the stored vectors, proposed by FAISS and completed in float64.

Imports storage's readers. FAISS is handed the mapped vectors themselves, so a flat search needs no index in memory. A segment
with an HNSW or IVF index proposes from that, and the stored vectors score what it proposed; then the bound is not proven. Where
float32 says too little (huge or tiny numbers, one vector far longer than the others) the float64 products themselves propose.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.proposals import proposals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Segment, Snapshot

_BLOCK = 4096  # rows that are turned to float64 at a time
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST_NORMAL = 2.0**-126
_LARGEST = float(np.finfo(np.float32).max) / 2
_COARSE = 2.0**-10  # float32 proposes as long as its rounding is finer than this part of the best score


class DenseLeg:
    """Score = q . d in float64 over the stored float32 values."""

    name = "dense"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages; -inf as bound when none is left. All score 0 for a query without a vector."""
        vector = np.zeros(0, np.float32) if query.dense is None else query.dense
        slack = rounding(vector, snapshot.dense_norm)
        parts = [
            _search_segment(vector, segment, bitmap, depth, slack, query.dense_effort)
            for segment, bitmap in zip(snapshot.segments, allowed, strict=True)
        ]
        return Candidates.merge(parts, depth)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact inner products f64[n]; 0 for a query without a vector."""
        scores = np.zeros(len(docids))
        if query.dense is not None:
            for segment, positions, rows in snapshot.split(docids):
                assert segment.vectors is not None
                scores[positions] = inner_products(query.dense, segment.vectors, rows)
        return scores


def inner_products(
    vector: NDArray[np.float32], matrix: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """f64[n] inner products of some rows, each summed alone and in one order (numpy's pairwise sum over a row)."""
    wide = vector.astype(np.float64)
    scores = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = matrix[rows[start : start + _BLOCK]].astype(np.float64)
        block *= wide
        scores[start : start + _BLOCK] = block.sum(axis=1)
    return scores


def rounding(vector: NDArray[np.float32], norm: float) -> float:
    """How far a float32 inner product, summed in any order, can be off: gamma_d |q| |d|, and what underflow takes.

    inf where it could overflow. Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1; the
    second term allows for a processor that is set to flush subnormal numbers to zero.
    """
    wide = vector.astype(np.float64)
    length = math.sqrt(wide @ wide)
    if length * norm > _LARGEST:
        return np.inf
    steps = len(vector) * _UNIT_ROUNDOFF
    return steps / (1 - steps) * length * norm + _SMALLEST_NORMAL * len(vector) * (2 + length + norm)


def _search_segment(
    vector: NDArray[np.float32],
    segment: Segment,
    bitmap: NDArray[np.uint8] | None,
    depth: int,
    slack: float,
    effort: int | None,
) -> Candidates:
    vectors = segment.vectors
    assert vectors is not None
    count = len(vectors) if bitmap is None else int(np.bitwise_count(bitmap).sum())
    if count > depth and 0 < slack < np.inf:
        found = None if segment.dense_index is None else proposals(vector, segment, bitmap, count, depth, effort)
        if found is not None:
            rows, effort = found
            scores = inner_products(vector, vectors, rows)
            if slack <= _COARSE * scores.max():  # else codes say even less than float32 does
                return Candidates.top(
                    rows + segment.base, scores, depth, floor=-np.inf, postings=len(rows), effort=effort, exact=True
                )
        # one more than the depth: the score that the cut leaves out is the bound
        rows, scores = exhaustive(vector, vectors, bitmap, depth + 1)
        if slack <= _COARSE * abs(scores[0]):
            return Candidates.top(rows + segment.base, scores, depth, floor=-np.inf, slack=slack, postings=count)
    rows = np.arange(len(vectors)) if bitmap is None else _members(bitmap, len(vectors))
    scores = inner_products(vector, vectors, rows) if len(vector) else np.zeros(count)
    return Candidates.top(rows + segment.base, scores, depth, floor=-np.inf, postings=count, exact=True)


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


def _members(bitmap: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    return np.flatnonzero(np.unpackbits(bitmap, count=count, bitorder="little")).astype(np.int64)
