"""Candidates: what a leg proposes, and what it can say of everything it left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from m3search.records.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


_FEW = 256  # so many are sorted sooner than a threshold is found among them


@frozen
class Candidates:
    """The best passages of one leg, ordered by (-score, docid).

    Attributes:
        docids: i64[n], passage numbers, counted through the snapshot.
        scores: f64[n], descending; near enough to rank by, completion makes them exact.
        bound: no passage that is not in `docids` has an exact score above this plus `slack`; -inf when nothing is left.
        slack: how far the leg's arithmetic may be off the exact score.
        postings: postings or vectors that were touched, for statistics.
        effort: nprobe or efSearch of the approximate index that proposed them, the largest of several; 0: there was none.
        exact: `scores` are what the leg's `complete` gives, to the last bit, so that nobody has to complete them again.
    """

    docids: NDArray[np.int64]
    scores: NDArray[np.float64]
    bound: float
    slack: float = 0.0
    postings: int = 0
    effort: int = 0
    exact: bool = False

    def __len__(self) -> int:
        return len(self.docids)

    @property
    def approximate(self) -> bool:
        """Whether the bound is what an approximate index says, and not proven."""
        return self.effort > 0

    @classmethod
    def top(
        cls,
        docids: NDArray[np.int64],
        scores: NDArray[np.float64],
        depth: int,
        *,
        floor: float,
        slack: float = 0.0,
        postings: int = 0,
        effort: int = 0,
        exact: bool = False,
    ) -> Self:
        """The best `depth` of scored passages.

        Args:
            docids: i64[n], distinct.
            scores: f64[n].
            depth: how many to keep.
            floor: the bound of what was not scored at all.
            slack: see `Candidates.slack`.
            postings: for statistics.
            effort: see `Candidates.effort`.
            exact: see `Candidates.exact`.
        """
        rest = floor
        if len(docids) > max(_FEW, 2 * depth):
            kept, rest = _select(docids, scores, depth)
            docids, scores = docids[kept], scores[kept]
            rest = max(rest, floor)
        order = np.lexsort((docids, -scores))
        if len(order) > depth:
            rest = max(float(scores[order[depth]]), floor)
            order = order[:depth]
        return cls(docids[order], scores[order], rest, slack, postings, effort, exact)

    @classmethod
    def merge(cls, parts: Sequence[Candidates], depth: int) -> Self:
        """The best `depth` of several segments' candidates; a cut candidate raises the bound to its score.

        Exact if all parts are.
        """
        if len(parts) == 1 and len(parts[0]) <= depth and isinstance(parts[0], cls):
            return parts[0]
        docids = np.concatenate([part.docids for part in parts]) if parts else np.empty(0, np.int64)
        scores = np.concatenate([part.scores for part in parts]) if parts else np.empty(0, np.float64)
        return cls.top(
            docids,
            scores,
            depth,
            floor=max((part.bound for part in parts), default=-np.inf),
            slack=max((part.slack for part in parts), default=0.0),
            postings=sum(part.postings for part in parts),
            effort=max((part.effort for part in parts), default=0),
            exact=all(part.exact for part in parts),
        )


def _select(docids: NDArray[np.int64], scores: NDArray[np.float64], depth: int) -> tuple[NDArray[np.intp], float]:
    """Positions of the best `depth` by (-score, docid), and the best score among the others."""
    cut = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    above = np.flatnonzero(scores > cut)
    tied = np.flatnonzero(scores == cut)
    tied = tied[np.argsort(docids[tied], kind="stable")]
    room = depth - len(above)
    below = scores[scores < cut]
    rest = float(cut) if len(tied) > room else float(below.max(initial=-np.inf))
    return np.concatenate([above, tied[:room]]), rest
