"""Inverted search: what the lexical and the BM25 leg have in common, on top of the compiled loops.

Imports storage's readers and the kernels. Invariant: what it returns are exact scores, by the same arithmetic as completion's,
and no passage that is left out has a higher one than the last that is returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.forward import Saturation
from m3search.retrieval.scratch import scratch_for
from m3search.retrieval.segment_search import Request, search_segment
from m3search.storage import RANKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import Segment

_ALL = np.empty(0, np.uint64)


class Segmentwise:
    """One query over the segments of a snapshot, the threshold carried from each to the next.

    Args:
        field: "lexical" or "bm25".
        weights: f64[q] >= 0 of the query's terms.
        depth: how many passages are wanted.
        saturation: of BM25.
    """

    def __init__(
        self, field: str, weights: NDArray[np.float64], depth: int, saturation: Saturation | None = None
    ) -> None:
        self._field = field
        self._weights = weights
        self._depth = depth
        self._saturation = Saturation() if saturation is None else saturation
        self._rank = next((place for place, rank in enumerate(RANKS) if rank >= depth), -1)
        self._docids = np.empty(0, np.int64)
        self._scores = np.empty(0)
        self._postings = 0

    def search(
        self,
        segment: Segment,
        numbers: NDArray[np.int64],
        bitmap: NDArray[np.uint8] | None,
        *,
        growth: float = 1.0,
        shrinkage: float = 1.0,
    ) -> None:
        """Search a segment.

        Args:
            segment: where.
            numbers: i64[q] term numbers in this segment, ascending but for -1, a term it does not have.
            bitmap: passages that may be found.
            growth: stored weights bound what postings add now only after multiplication with this, at least 1.
            shrinkage: what they add now is at least this part of the stored weight, at most 1.
        """
        if not segment.info.passages:
            return
        field = segment.fields[self._field]
        blocks = field.blocks.count
        scratch = scratch_for(blocks, len(numbers))
        least = float(self._scores[-1]) if len(self._scores) == self._depth else 0.0
        count, postings = search_segment(
            numbers,
            self._weights,
            field.blocks.arrays,
            field.rows,
            _ALL if bitmap is None else _words(bitmap, blocks),
            Request(self._depth, self._rank if bitmap is None else -1, least, growth, shrinkage),
            self._saturation,
            scratch,
        )
        self._postings += postings
        self._take(scratch.found[:count] + np.int64(segment.base), scratch.exact[:count].copy())

    def _take(self, docids: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        if len(self._docids) and len(docids):
            docids, scores = np.concatenate([self._docids, docids]), np.concatenate([self._scores, scores])
            best = np.lexsort((docids, -scores))[: self._depth]
            docids, scores = docids[best], scores[best]
        if len(docids):
            self._docids, self._scores = docids, scores

    def candidates(self) -> Candidates:
        """The best of all segments; nothing that is left out exceeds the last of them, and what does not match scores 0."""
        bound = float(self._scores[-1]) if len(self._scores) == self._depth else 0.0
        return Candidates(self._docids, self._scores, bound, postings=self._postings, exact=True)


def _words(bitmap: NDArray[np.uint8], blocks: int) -> NDArray[np.uint64]:
    """The bitmap as one word a block, the last filled up with zeros."""
    words = np.zeros(blocks * 8, np.uint8)
    words[: len(bitmap)] = bitmap
    return words.view("<u8").astype(np.uint64, copy=False)
