"""LexicalLeg: learned token weights, score = sum of w_q * w_d over shared tokens.

Imports storage's readers and the inverted search. Source: Chen et al., BGE M3-Embedding (2024), section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from m3search.retrieval.inverted import score_inverted, search_inverted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot


class LexicalLeg:
    """Score = sum of products of the stored weights, in float64, by ascending token id."""

    name = "lexical"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages that share a token; what shares none scores 0."""
        return search_inverted("lexical", snapshot, query.lexical, allowed, depth)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores f64[n]."""
        return score_inverted("lexical", snapshot, query.lexical, docids)
