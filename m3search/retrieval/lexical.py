"""LexicalLeg: learned token weights, score = sum of w_q * w_d over shared tokens.

Imports storage's readers and the compiled loops, the latter on use. Source: Chen et al., BGE M3-Embedding (2024), section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval.inverted import Terms
    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot


class LexicalLeg:
    """Score = sum of products of the stored weights, in float64, by ascending token id."""

    name = "lexical"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages that share a token; what shares none scores 0."""
        from m3search.retrieval.inverted import search_inverted

        return search_inverted(self.name, snapshot, _terms(query, snapshot), allowed, depth)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores f64[n]."""
        from m3search.retrieval.inverted import score_inverted

        return score_inverted(self.name, snapshot, _terms(query, snapshot), docids)


def _terms(query: Query, snapshot: Snapshot) -> Terms:
    from m3search.retrieval.inverted import Terms

    numbers = np.empty((len(snapshot.segments), len(query.tokens)), np.int64)
    return Terms(query.token_weights.astype(np.float64), query.tokens.astype(np.uint32), numbers)
