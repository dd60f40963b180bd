"""LexicalLeg: learned token weights, score = sum of w_q * w_d over shared tokens.

Imports storage's readers. Source: Chen et al., BGE M3-Embedding (2024), section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.term_at_a_time import complete_terms, search_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot


class LexicalLeg:
    """Score = sum of products of the stored weights, in float64, by ascending token id."""

    name = "lexical"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages that share a token; what shares none scores 0."""
        products = _products(query)
        parts = [
            search_terms(segment, self.name, segment.fields[self.name].numbers(query.tokens), products, bitmap, depth)
            for segment, bitmap in zip(snapshot.segments, allowed, strict=True)
        ]
        return Candidates.merge(parts, depth)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores f64[n]."""
        scores = np.zeros(len(docids))
        products = _products(query)
        for segment, positions, rows in snapshot.split(docids):
            numbers = segment.fields[self.name].numbers(query.tokens)
            scores[positions] = complete_terms(segment, self.name, numbers, products, rows)
        return scores


def _products(query: Query) -> Any:  # noqa: ANN401 - a closure of the type Products
    weights = query.token_weights.astype(np.float64)

    def products(
        terms: NDArray[np.int64],
        rows: NDArray[np.int64],  # noqa: ARG001 - a weight does not depend on its passage
        values: NDArray[Any],
    ) -> NDArray[np.float64]:
        return weights[terms] * values.astype(np.float64)

    return products
