"""ColbertLeg: late interaction, score = mean over query tokens of the best document token.

Imports storage's readers. Source: Khattab and Zaharia, ColBERT (2020), section 3.3; divided by the number of query tokens
as BGE-M3 does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.records import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot


class ColbertLeg:
    """MaxSim over the stored token vectors; a passage without tokens scores 0."""

    name = "colbert"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages, by scoring all of them: for a blend that has no other leg to propose."""
        rows = [
            segment.base
            + (
                np.arange(segment.info.passages)
                if bitmap is None
                else np.flatnonzero(np.unpackbits(bitmap, count=segment.info.passages, bitorder="little"))
            )
            for segment, bitmap in zip(snapshot.segments, allowed, strict=True)
        ]
        docids = np.concatenate(rows).astype(np.int64) if rows else np.empty(0, np.int64)
        scores = self.complete(query, snapshot, docids)
        return Candidates.top(docids, scores, depth, floor=-np.inf, postings=len(docids), exact=True)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """MaxSim f64[n] over decoded vectors."""
        scores = np.zeros(len(docids))
        if query.colbert is None or not len(query.colbert):
            return scores
        for segment, positions, rows in snapshot.split(docids):
            assert segment.tokens is not None
            for position, row in zip(positions, rows, strict=True):
                scores[position] = max_sim(query.colbert, segment.tokens.decode(int(row)))
        return scores


def max_sim(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    """Mean over f32[m, dim] of the largest inner product with a row of f32[t, dim]; 0 where t is 0."""
    if not len(document):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        score = float((query @ document.T).max(axis=1).mean(dtype=np.float64))
    if not np.isfinite(score):  # products beyond float32, which no normalised vectors have
        score = float((query.astype(np.float64) @ document.astype(np.float64).T).max(axis=1).mean())
    return score
