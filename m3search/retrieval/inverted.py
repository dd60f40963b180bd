"""Inverted search: what the lexical and the BM25 leg have in common, on top of the compiled loops.

Imports storage's readers and the kernels. Invariant: what it returns are exact scores, by the same arithmetic as completion's,
and no passage that is left out has a higher one than the last that is returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.block_max import search_blocks
from m3search.storage import BLOCK, LARGEST_IMPACT, RANKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import Segment

Exact = Callable[["NDArray[np.uint32]"], "NDArray[np.float64]"]
"""Passages of a segment u32[n] -> their exact scores f64[n]."""

_UNITS = 2.0**30  # of the largest possible score: leaves two bits of a u32 for what rounding up adds
_MOST = 2.0**32 - 1
_SLACK = 1024  # stored worths were rounded up to float32
_ALL = np.empty(0, np.uint64)


class Segmentwise:
    """One query over the segments of a snapshot, the threshold carried from each to the next.

    Args:
        field: "lexical" or "bm25".
        depth: how many passages are wanted.
    """

    def __init__(self, field: str, depth: int) -> None:
        self._field = field
        self._depth = depth
        self._parts: list[Candidates] = []
        self._best = np.empty(0)

    def search(
        self,
        segment: Segment,
        numbers: NDArray[np.int64],
        weights: NDArray[np.float64],
        bitmap: NDArray[np.uint8] | None,
        exact: Exact,
        *,
        growth: float = 1.0,
        shrinkage: float = 1.0,
    ) -> None:
        """Search a segment.

        Args:
            segment: where.
            numbers: i64[q] term numbers in this segment; -1 for a term it does not have.
            weights: f64[q] >= 0, by which a posting's stored weight is multiplied.
            bitmap: passages that may be found.
            exact: see `Exact`.
            growth: stored weights bound what postings add now only after multiplication with this, at least 1.
            shrinkage: what they add now is at least this part of the stored weight, at most 1.
        """
        field = segment.fields[self._field]
        known = np.flatnonzero((numbers >= 0) & (weights > 0))
        if not len(known) or not segment.info.passages:
            return
        index, terms = field.blocks, numbers[known]
        gains = weights[known] * index.scales[terms].astype(np.float64) * growth
        unit = float(gains.sum()) * LARGEST_IMPACT / _UNITS
        factors = np.ceil(gains / unit * (1 + 2.0**-40)).clip(1, _UNITS).astype(np.uint32)
        rows = index.rows(terms)
        frequent = rows >= 0
        ranked = 0
        if bitmap is None and self._depth <= RANKS[-1]:
            rank = next(place for place, value in enumerate(RANKS) if value >= self._depth)
            ranked = int((factors.astype(np.int64) * index.ranked[terms, rank]).max())
        scratch = _scratch(index.count * BLOCK)
        rare = terms[~frequent]
        count, postings = search_blocks(
            index.rare_ends[rare],
            index.rare_ends[rare + 1],
            factors[~frequent],
            rows[frequent],
            factors[frequent],
            index.rare,
            index.block_max,
            index.block_starts,
            index.group_starts,
            index.local,
            _ALL if bitmap is None else _words(bitmap, index.count),
            segment.info.passages,
            self._depth,
            max(int(min(self._threshold() / unit, _MOST)) - 1, 1),
            ranked,
            int(factors.astype(np.int64).sum()) + (LARGEST_IMPACT + 1) * len(factors) + _SLACK,
            shrinkage / growth,
            *scratch.arrays(index.count),
        )
        found = scratch.found[:count].copy()
        scores = exact(found)
        matches = scores > 0
        part = Candidates.top(
            found[matches].astype(np.int64) + segment.base, scores[matches], self._depth, floor=0.0, postings=postings
        )
        self._parts.append(part)
        if len(self._parts) > 1 or len(part) < self._depth:
            self._best = np.sort(np.concatenate([self._best, part.scores]))[::-1][: self._depth]
        else:
            self._best = part.scores

    def _threshold(self) -> float:
        """The score that `depth` passages of earlier segments have reached; 0 while there are fewer."""
        return float(self._best[-1]) if len(self._best) == self._depth else 0.0

    def candidates(self) -> Candidates:
        """The best of all segments; what is left out does not exceed the last of them, and what does not match scores 0."""
        merged = Candidates.merge(self._parts, self._depth)
        bound = float(merged.scores[-1]) if len(merged) == self._depth else 0.0
        return Candidates(merged.docids, merged.scores, max(bound, 0.0), postings=merged.postings)


class _Scratch(threading.local):
    """Arrays of the compiled loop, kept by each thread and grown to its largest segment."""

    def __init__(self) -> None:
        self.size = -1
        self.sums = self.partials = self.bounds = self.found = self.scores = np.empty(0, np.uint32)
        self.order = np.empty(0, np.int32)

    def arrays(self, blocks: int) -> tuple[NDArray[Any], ...]:
        return (
            self.sums[: blocks * BLOCK],
            self.partials[:blocks],
            self.bounds[:blocks],
            self.order[:blocks],
            self.found[: blocks * BLOCK + 1],
            self.scores[: blocks * BLOCK + 1],
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
        _thread.scores = np.empty(passages + 1, np.uint32)
        _thread.size = passages
    return _thread


def _words(bitmap: NDArray[np.uint8], blocks: int) -> NDArray[np.uint64]:
    """The bitmap as one word a block, the last filled up with zeros."""
    words = np.zeros(blocks * 8, np.uint8)
    words[: len(bitmap)] = bitmap
    return words.view("<u8").astype(np.uint64, copy=False)
