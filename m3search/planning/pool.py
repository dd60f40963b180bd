"""Pool: candidates with all their scores, and the best documents among them.

Imports retrieval by way of completion, and storage's snapshot. Invariant: a document scores as its best passage, of equal
ones the first; documents are ordered by (-score, docid) until ids decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from m3search.planning.blend import blend
from m3search.planning.completion import Known, complete
from m3search.planning.fusion import Fusion
from m3search.records import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval import Query
    from m3search.storage import Snapshot


@frozen
class Pool:
    """Scored candidates.

    Attributes:
        docids: i64[n], distinct.
        parts: leg -> f64[n].
        scores: f64[n], the blend of the parts.
        parents: i64[n], the first passage of each one's document, which no other document has; see `units`.
        values: leg -> f64[n], what its score counts: the parts themselves where these are blended.
        leading: a number of documents, and what `best` is for it, where that is known.
    """

    docids: NDArray[np.int64]
    parts: Mapping[str, NDArray[np.float64]]
    scores: NDArray[np.float64]
    parents: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    leading: tuple[int, NDArray[np.int64]] | None = None

    @classmethod
    def of(
        cls,
        query: Query,
        snapshot: Snapshot,
        docids: NDArray[np.int64],
        weights: Mapping[str, float],
        known: Sequence[Known] = (),
        *,
        collapse: bool = True,
    ) -> Self:
        """Complete and blend; see `Plan.collapse`."""
        parts = complete(query, snapshot, docids, weights, known)
        return cls.scored(snapshot, docids, parts, weights, collapse=collapse)

    @classmethod
    def scored(
        cls,
        snapshot: Snapshot,
        docids: NDArray[np.int64],
        parts: Mapping[str, NDArray[np.float64]],
        weights: Mapping[str, float],
        *,
        collapse: bool = True,
    ) -> Self:
        """Blend what is complete; without a leg that scores everything, only what scores above 0 matches."""
        scores = blend(parts, weights)
        if matches_only(weights) and not (kept := scores > 0).all():
            docids, scores = docids[kept], scores[kept]
            parts = {leg: values[kept] for leg, values in parts.items()}
        return cls(docids, parts, scores, units(snapshot, docids, collapse=collapse), parts)

    @classmethod
    def fused(
        cls,
        snapshot: Snapshot,
        docids: NDArray[np.int64],
        parts: Mapping[str, NDArray[np.float64]],
        there: Mapping[str, NDArray[np.bool_]],
        weights: Mapping[str, float],
        fusion: Fusion,
        *,
        collapse: bool = True,
    ) -> Self:
        """Candidates by a fusion; `there` says leg by leg which of them, bool[n], it has a score of."""
        values = {leg: fusion.values(parts[leg], there[leg]) for leg in weights}
        return cls(docids, parts, blend(values, weights), units(snapshot, docids, collapse=collapse), values)

    def best(self, documents: int) -> NDArray[np.intp]:
        """Positions of the best passages of the best `documents` documents, ordered by (-score, docid).

        More where others tie with the last of them: the ids decide among these.
        """
        if self.leading is not None and self.leading[0] == documents:
            return self.leading[1]
        passages = documents
        while True:
            order = self._leading(passages)
            best = self._first_of_each(order)
            if len(best) >= documents or len(order) == len(self.docids):
                break
            passages *= 2
        if len(best) > documents:
            best = best[self.scores[best] >= self.scores[best[documents - 1]]]
        return best

    def _leading(self, count: int) -> NDArray[np.intp]:
        """Positions of the best `count` passages, and of all that tie with the last of them."""
        docids, scores = self.docids, self.scores
        if _in_order(docids, scores):  # as one leg alone gives them
            return np.arange(len(scores) if len(scores) <= count else np.count_nonzero(scores >= scores[count - 1]))
        if len(scores) <= count:
            return np.lexsort((docids, -scores))
        kept = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
        order: NDArray[np.intp] = kept[np.lexsort((docids[kept], -scores[kept]))]
        return order

    def _first_of_each(self, order: NDArray[np.intp]) -> NDArray[np.intp]:
        """What is first of each document."""
        if self.parents is self.docids:
            return order
        _, first = np.unique(self.parents[order], return_index=True)
        first.sort()
        return order[first]

    def known(self, docids: NDArray[np.int64]) -> list[Known]:
        """What the pool knows of other passages, i64[n] ascending."""
        positions = np.searchsorted(docids, self.docids)
        positions[positions == len(docids)] = 0
        there = np.flatnonzero(docids[positions] == self.docids) if len(docids) else positions[:0]
        return [Known(leg, positions[there], scores[there]) for leg, scores in self.parts.items()]


def _in_order(docids: NDArray[np.int64], scores: NDArray[np.float64]) -> bool:
    before, after = scores[:-1], scores[1:]
    if not (before >= after).all():
        return False
    return bool(((before > after) | (docids[:-1] < docids[1:])).all())


def units(snapshot: Snapshot, docids: NDArray[np.int64], *, collapse: bool) -> NDArray[np.int64]:
    """i64[n], a number for what each passage's hit is: its document's first passage, or the passage itself."""
    return snapshot.parents(docids) if collapse else docids


def united(lists: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """All docids of the lists, once each and ascending; and for each list where its docids are among them."""
    everything = np.concatenate(lists)
    order = np.argsort(everything, kind="stable")
    docids = everything[order]
    first = np.ones(len(docids), bool)
    np.not_equal(docids[1:], docids[:-1], out=first[1:])
    places = np.empty(len(docids), np.int64)
    places[order] = np.cumsum(first) - 1
    ends = list(itertools.accumulate((len(some) for some in lists), initial=0))
    return docids[first], [places[start:end] for start, end in itertools.pairwise(ends)]


def matches_only(legs: Iterable[str]) -> bool:
    """Whether all of these legs give 0 to what does not match, and nothing less than 0."""
    return not {"dense", "colbert"} & set(legs)
