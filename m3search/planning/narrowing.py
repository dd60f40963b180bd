"""Narrowing: from all that the legs propose to what can still be in the answer, so that little has to be completed.

Imports completion and storage's snapshot. Every leg's score of a candidate lies between two figures: they meet where the leg
vouches for its score, else its slack keeps them apart, and what it left out lies below its bound. Whoever scores less at most
than enough documents score at least is dropped, the cheapest leg is completed, and so on: in one compiled loop, or step by step
where ColBERT proposes too. Invariant: no passage is dropped that could be the best of a wanted document, or tie with the last
of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.planning.blend import blend, scaled_weights
from m3search.planning.completion import complete
from m3search.planning.pool import Pool, matches_only, united, units
from m3search.retrieval import FEW, Claim, complete_jointly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval import Query
    from m3search.storage import Snapshot

_FEW = {**FEW, "colbert": 0}
"""The legs, the cheapest first: of so many it is sooner to complete all than to drop some."""


class Narrowing:
    """What candidates can score in each leg, from least to most.

    Attributes:
        docids: i64[n], distinct, ascending.
        parents: i64[n], the first passage of each one's document.
        least: leg -> f64[n]; the exact score where it is known.
        most: leg -> f64[n], not below `least`.
        known: leg -> bool[n].
        completed: leg -> how many scores were computed, and not vouched for by the leg.
    """

    def __init__(self, snapshot: Snapshot, proposals: Mapping[str, Candidates], *, collapse: bool = True) -> None:
        """All that any leg proposes: its scores as the leg gives them, and the leg's bound for what it left out."""
        self.docids, places = united([found.docids for found in proposals.values()])
        self.parents = units(snapshot, self.docids, collapse=collapse)
        self.least = {leg: np.full(len(self.docids), _least(leg)) for leg in proposals}
        self.most = {leg: np.full(len(self.docids), np.inf) for leg in proposals}
        self.known = {leg: np.zeros(len(self.docids), bool) for leg in proposals}
        self.completed = dict.fromkeys(proposals, 0)
        for (leg, found), where in zip(proposals.items(), places, strict=True):
            self._take(leg, found, where)

    def _take(self, leg: str, found: Candidates, where: NDArray[np.int64]) -> None:
        least, most, known = self.least[leg], self.most[leg], self.known[leg]
        most[:] = np.maximum(_most(found), least)
        known[:] = _silent(leg, found)
        least[where] = found.scores if found.exact else -_up(found.slack - found.scores)
        most[where] = found.scores if found.exact else _up(found.scores + found.slack)
        known[where] = found.exact

    def learn(self, pool: Pool) -> None:
        """Take over the exact scores of an earlier pool."""
        for leg, where, scores in pool.known(self.docids):
            self.least[leg][where] = self.most[leg][where] = scores
            self.known[leg][where] = True

    def run(self, query: Query, snapshot: Snapshot, weights: Mapping[str, float], documents: int) -> None:
        """Complete one leg after the other, and drop what becomes hopeless before each.

        Args:
            query: what is asked.
            snapshot: where the passages are.
            weights: of the blend.
            documents: how many are wanted.
        """
        for leg, few in _FEW.items():
            if leg not in self.known:
                continue
            missing = np.flatnonzero(~self.known[leg])
            if len(missing) > few:
                self.drop(weights, documents)
                missing = np.flatnonzero(~self.known[leg])
            if len(missing):
                scores = complete(query, snapshot, self.docids[missing], [leg])[leg]
                self.least[leg][missing] = self.most[leg][missing] = scores
                self.known[leg][missing] = True
                self.completed[leg] += len(missing)

    def drop(self, weights: Mapping[str, float], documents: int) -> None:
        """Drop what scores less, at most, than `documents` documents score at least.

        The blend rounds, but does so in the same order for both sums, and rounding turns no order around.
        """
        least = blend(self.least, weights)
        best = least
        if self.parents is not self.docids and len(least):
            best = np.maximum.reduceat(least, np.flatnonzero(np.diff(self.parents, prepend=-1)))
        if len(best) <= documents:
            return
        enough = np.partition(best, -documents)[-documents]
        kept = np.flatnonzero(blend(self.most, weights) >= enough)
        if len(kept) == len(least):
            return
        docids = self.docids[kept]
        self.parents = docids if self.parents is self.docids else self.parents[kept]
        self.docids = docids
        self.least = {leg: values[kept] for leg, values in self.least.items()}
        self.most = {leg: values[kept] for leg, values in self.most.items()}
        self.known = {leg: values[kept] for leg, values in self.known.items()}


class Narrowed(NamedTuple):
    """What is left of the candidates.

    Attributes:
        candidates: how many there were.
        pool: those that can be in the answer, scored: ordered as one leg alone orders them, where it vouches for its scores;
            else ascending.
        completed: leg -> how many scores had to be computed for that.
    """

    candidates: int
    pool: Pool
    completed: Mapping[str, int]


def narrowed(
    query: Query,
    snapshot: Snapshot,
    proposals: Mapping[str, Candidates],
    weights: Mapping[str, float],
    documents: int,
    before: Pool | None = None,
    *,
    collapse: bool = True,
) -> Narrowed:
    """The candidates that can be in the answer, and their exact scores in every leg.

    Args:
        query: what is asked.
        snapshot: where the passages are.
        proposals: by leg.
        weights: of the blend.
        documents: how many are wanted.
        before: what was scored at a smaller depth.
        collapse: see `Plan`.
    """
    leg, found = next(iter(proposals.items()))
    if len(proposals) == 1 and found.exact:
        pool = Pool.scored(snapshot, found.docids, {leg: found.scores}, weights, collapse=collapse)
        return Narrowed(len(found), pool, {leg: 0})
    how = _jointly if proposals.keys() <= FEW.keys() else step_by_step
    return how(query, snapshot, proposals, weights, documents, before, collapse=collapse)


def _jointly(
    query: Query,
    snapshot: Snapshot,
    proposals: Mapping[str, Candidates],
    weights: Mapping[str, float],
    documents: int,
    before: Pool | None,
    *,
    collapse: bool,
) -> Narrowed:
    """All steps in one compiled loop."""
    scaled = scaled_weights(weights)
    claims = {leg: Claim(_most(found), _least(leg), found.slack, found.exact, _silent(leg, found))
              for leg, found in proposals.items()}  # fmt: skip
    earlier = None if before is None else (before.docids, np.array([before.parts[leg] for leg in scaled]))
    joint = complete_jointly(query, snapshot, proposals, claims, scaled, documents, earlier, collapse=collapse)
    parts = dict(zip(scaled, joint.scores, strict=True))
    pool = Pool(joint.docids, parts, joint.blends, joint.parents, parts, leading=(documents, joint.best))
    return Narrowed(joint.candidates, pool, dict(zip(scaled, joint.completed, strict=True)))


def step_by_step(
    query: Query,
    snapshot: Snapshot,
    proposals: Mapping[str, Candidates],
    weights: Mapping[str, float],
    documents: int,
    before: Pool | None = None,
    *,
    collapse: bool = True,
) -> Narrowed:
    """The same as `narrowed` for any legs, one after the other."""
    narrowing = Narrowing(snapshot, proposals, collapse=collapse)
    candidates = len(narrowing.docids)
    if before is not None:
        narrowing.learn(before)
    narrowing.run(query, snapshot, weights, documents)
    pool = Pool.scored(snapshot, narrowing.docids, narrowing.least, weights, collapse=collapse)
    return Narrowed(candidates, pool, narrowing.completed)


def _least(leg: str) -> float:
    """What a passage scores at least that the leg says nothing of."""
    return 0.0 if matches_only([leg]) else -math.inf


def _most(found: Candidates) -> float:
    """What a passage scores at most that the leg did not return."""
    if found.approximate:  # the bound is not proven
        return math.inf
    return _up(found.bound + found.slack) if found.slack else found.bound


def _silent(leg: str, found: Candidates) -> bool:
    """Whether the leg gave all that matches, so that everything else scores 0."""
    return found.exact and matches_only([leg]) and _most(found) <= 0


def _up(value: Any) -> Any:  # noqa: ANN401 - a number or an array of them
    """No less than a sum that may have been rounded down."""
    return np.nextafter(value, np.inf)
