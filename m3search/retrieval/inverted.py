"""Inverted search: what the lexical and the BM25 leg have in common, on top of the compiled loops.

Imports storage's readers and the kernels. Invariant: what it returns are exact scores, by the same arithmetic as completion's,
and no passage that is left out has a higher one than the last that is returned.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.segment_search import search_segment
from m3search.storage import BLOCK, RANKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import Segment

_ALL = np.empty(0, np.uint64)
_NO_LENGTHS = np.empty(0, np.uint32)
_NO_LENGTHS.flags.writeable = False  # as stored lengths come: one compiled loop serves both


@dataclass(frozen=True, slots=True)
class Saturation:
    """BM25's arithmetic at a time.

    Attributes:
        k1: saturation of the term frequency.
        b: how much the length counts, 0 to 1.
        average: mean number of terms in a live passage, above 0.
    """

    k1: float = 0.0
    b: float = 0.0
    average: float = 1.0


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
        field, saturation = segment.fields[self._field], self._saturation
        index = field.blocks
        scratch = _scratch(index.count * BLOCK)
        count, postings = search_segment(
            numbers,
            self._weights,
            index.scales,
            index.ranked,
            index.rare_ends,
            index.frequent,
            index.rare,
            index.block_max,
            index.block_starts,
            index.group_starts,
            index.local,
            field.row_ends,
            field.row_terms,
            field.values,
            _NO_LENGTHS if field.lengths is None else field.lengths,
            _ALL if bitmap is None else _words(bitmap, index.count),
            self._depth,
            self._rank if bitmap is None else -1,
            float(self._scores[-1]) if len(self._scores) == self._depth else 0.0,
            saturation.k1,
            saturation.b,
            saturation.average,
            growth,
            shrinkage,
            *scratch.arrays(index.count),
        )
        self._postings += postings
        self._take(scratch.found[:count].astype(np.int64) + segment.base, scratch.exact[:count].copy())

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
        return Candidates(self._docids, self._scores, bound, postings=self._postings)


class _Scratch(threading.local):
    """Arrays of the compiled loop, kept by each thread and grown to its largest segment."""

    def __init__(self) -> None:
        self.size = -1
        self.sums = self.partials = self.bounds = self.found = self.uppers = np.empty(0, np.uint32)
        self.order = np.empty(0, np.int32)
        self.exact = np.empty(0)

    def arrays(self, blocks: int) -> tuple[NDArray[Any], ...]:
        return (
            self.sums[: blocks * BLOCK],
            self.partials[:blocks],
            self.bounds[:blocks],
            self.order[:blocks],
            self.found[: blocks * BLOCK + 1],
            self.uppers[: blocks * BLOCK + 1],
            self.exact[: blocks * BLOCK + 1],
        )


_thread = _Scratch()


def _scratch(passages: int) -> _Scratch:
    if passages > _thread.size:
        blocks = passages // BLOCK
        _thread.sums = np.zeros(passages, np.uint32)
        _thread.partials = np.zeros(blocks, np.uint32)
        _thread.bounds = np.empty(blocks, np.uint32)
        _thread.order = np.empty(blocks, np.int32)
        _thread.found = np.empty(passages + 1, np.uint32)
        _thread.uppers = np.empty(passages + 1, np.uint32)
        _thread.exact = np.empty(passages + 1)
        _thread.size = passages
    return _thread


def _words(bitmap: NDArray[np.uint8], blocks: int) -> NDArray[np.uint64]:
    """The bitmap as one word a block, the last filled up with zeros."""
    words = np.zeros(blocks * 8, np.uint8)
    words[: len(bitmap)] = bitmap
    return words.view("<u8").astype(np.uint64, copy=False)
