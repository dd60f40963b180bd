"""ColbertLeg: late interaction over the stored token vectors.

Imports storage's readers, and MaxSim on use. Invariant: what `complete` says is computed from the stored vectors; what
`estimate` says comes from the signs of their components, and serves only to choose what is worth completing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.leg import members
from m3search.storage.token_vectors import has_signs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.max_sim import MaxSim
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot
    from m3search.storage.token_vectors import TokenVectors

    Score = Callable[[MaxSim, TokenVectors, NDArray[np.int64]], NDArray[np.float64]]


class ColbertLeg:
    """MaxSim over the stored token vectors; a passage without tokens scores 0."""

    name = "colbert"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages, by scoring all of them: for a blend that has no other leg to propose."""
        docids = members(snapshot, allowed)
        scores = self.complete(query, snapshot, docids)
        return Candidates.top(docids, scores, depth, floor=-np.inf, postings=len(docids), exact=True)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """MaxSim f64[n] with the stored vectors."""
        return _by_segment(query, snapshot, docids, lambda sim, tokens, rows: sim.scores(tokens, rows))

    def estimate(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """About the same f64[n], from a bit a component; only where `can_estimate`."""
        return _by_segment(query, snapshot, docids, lambda sim, tokens, rows: sim.estimates(tokens, rows))

    def can_estimate(self, snapshot: Snapshot) -> bool:
        """Whether the index keeps the signs of its token vectors."""
        config = snapshot.manifest.config
        return config.colbert_dim is not None and has_signs(config.colbert_codec)


def _by_segment(query: Query, snapshot: Snapshot, docids: NDArray[np.int64], score: Score) -> NDArray[np.float64]:
    scores = np.zeros(len(docids))
    if query.colbert is None or not len(query.colbert):
        return scores
    from m3search.retrieval.max_sim import MaxSim

    sim = MaxSim(query.colbert)
    for segment, positions, rows in snapshot.split(docids):
        assert segment.tokens is not None
        scores[positions] = score(sim, segment.tokens, rows)
    return scores
