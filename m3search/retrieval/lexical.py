"""LexicalLeg: learned token weights, score = sum of w_q * w_d over shared tokens.

Imports storage's readers and the compiled loops, the latter on use. Source: Chen et al., BGE M3-Embedding (2024), section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Segment, Snapshot


class LexicalLeg:
    """Score = sum of products of the stored weights, in float64, by ascending token id."""

    name = "lexical"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages that share a token; what shares none scores 0."""
        from m3search.retrieval.inverted import Segmentwise

        weights = query.token_weights.astype(np.float64)
        search = Segmentwise(self.name, weights, depth)
        for segment, bitmap in zip(snapshot.segments, allowed, strict=True):
            search.search(segment, segment.fields[self.name].numbers(query.tokens), bitmap)
        return search.candidates()

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores f64[n]."""
        scores = np.zeros(len(docids))
        weights = query.token_weights.astype(np.float64)
        for segment, positions, rows in snapshot.split(docids):
            numbers = segment.fields[self.name].numbers(query.tokens)
            scores[positions] = _exact(segment, numbers, weights, rows.astype(np.uint32))
        return scores


def _exact(
    segment: Segment, numbers: NDArray[np.int64], weights: NDArray[np.float64], passages: NDArray[np.uint32]
) -> NDArray[np.float64]:
    from m3search.retrieval.forward import score_weights

    field, known = segment.fields["lexical"], numbers >= 0
    scores = np.empty(len(passages))
    score_weights(
        passages,
        numbers[known].astype(np.uint32),
        weights[known],
        field.rows,
        scores,
    )
    return scores
