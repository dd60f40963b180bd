"""Truth: exact scores by adding up every posting in f64, and recall that counts ties.

The oracle of the benchmark; it shares no code with the engines. Invariant: a product of an f16 and an f32 is exact in f64, so
sums of a few hundred are exact to about 1e-13 of the largest, far below `TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lexical.collection import Collection, Query

TOLERANCE = 1e-9
"""A document counts as one of the top k if its score is at most this below the k-th."""


class Truth:
    """The postings of the terms that some queries have."""

    def __init__(self, collection: Collection, queries: Iterable[Query]) -> None:
        used = np.unique(np.concatenate([query.terms for query in queries]))
        numbers = np.full(collection.vocabulary, -1, np.int32)
        numbers[used] = np.arange(len(used))
        terms, rows, weights = [], [], []
        for start, block in collection.blocks():
            number = numbers[block.indices]
            kept = np.flatnonzero(number >= 0)
            terms.append(number[kept])
            rows.append((np.searchsorted(block.indptr, kept, side="right") - 1 + start).astype(np.int32))
            weights.append(block.data[kept])
        triples = (np.concatenate(weights), (np.concatenate(terms), np.concatenate(rows)))
        self._numbers = numbers
        self._by_term = sparse.coo_array(triples, shape=(len(used), len(collection))).tocsr()

    def scores(self, query: Query) -> NDArray[np.float64]:
        """Of every document, f64[n]."""
        scores = np.zeros(self._by_term.shape[1])
        indptr, rows, weights = self._by_term.indptr, self._by_term.indices, self._by_term.data
        for number, weight in zip(self._numbers[query.terms], query.weights, strict=True):
            if number >= 0:
                postings = slice(indptr[number], indptr[number + 1])
                scores[rows[postings]] += np.float64(weight) * weights[postings].astype(np.float64)
        return scores


def kth_scores(scores: NDArray[np.float64], ks: Sequence[int]) -> list[tuple[int, float]]:
    """For each k how many documents there are to find (k, or all that score above 0), and the score of the last of them."""
    positive = np.sort(scores[scores > 0])[::-1]
    return [(min(k, len(positive)), float(positive[min(k, len(positive)) - 1]) if len(positive) else 0.0) for k in ks]


def recall(ids: NDArray[np.int64], scores: NDArray[np.float64], wanted: tuple[int, float]) -> float:
    """The share of what there is to find that is found; a document counts once, and one that scores 0 not at all."""
    count, smallest = wanted
    if not count:
        return 1.0
    found = scores[np.unique(ids[:count])]
    return float(((found >= smallest - TOLERANCE) & (found > 0)).sum()) / count
