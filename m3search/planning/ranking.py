"""Ranking: runs a plan: the first stage, then the rerank, then ids: documents in order.

Imports retrieval and storage's snapshot. Invariant: documents are ordered by (-score, id), and a document scores as its
best passage. Where token vectors rerank, those that they score come first, in that order, and the others follow in the order
of the first stage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from m3search.planning.certificate import Guarantee
from m3search.planning.completion import complete
from m3search.planning.first_stage import Stage, settle
from m3search.planning.located import Located
from m3search.planning.plan import Plan, Strategy
from m3search.planning.pool import Pool, units
from m3search.planning.shortlist import shortlist
from m3search.planning.trace import Trace
from m3search.records import frozen
from m3search.retrieval import members
from m3search.storage import recall_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval import Allowed, Query
    from m3search.storage import SegmentInfo, Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class RankedDocument:
    """A document of a ranking.

    Attributes:
        id: the user's id.
        owner: place of its segment in the snapshot.
        number: its number in the segment.
        passage: docid of its best passage.
        score: the blend of `parts`.
        parts: leg -> exact score of the best passage.
    """

    id: str
    owner: int
    number: int
    passage: int
    score: float
    parts: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What a plan found, in columns: at most offset + k documents, best first.

    Attributes:
        plan: what was run.
        found: ids and places of the documents.
        passages: i64[n], docids of their best passages.
        scores: f64[n], the blend of `values`.
        parts: leg -> f64[n], exact scores of the best passages; NaN where a leg has no part in a document's score.
        values: leg -> f64[n], what these count: the parts themselves where raw scores are blended.
        guarantee: what is proven.
        bound: what no unseen passage exceeds in the first stage.
        kth_score: the first stage's score at the last rank that had to be settled; None with fewer documents.
        trace: what was done.
        segments: of the snapshot, as the manifest names them.
    """

    plan: Plan
    found: Located
    passages: NDArray[np.int64]
    scores: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]
    values: Mapping[str, NDArray[np.float64]]
    guarantee: Guarantee
    bound: float
    kth_score: float | None
    trace: Trace
    segments: Sequence[SegmentInfo]

    def __len__(self) -> int:
        return len(self.passages)

    def parts_of(self, at: int) -> dict[str, float]:
        """Leg -> exact score of one document."""
        return {leg: value for leg, values in self._parts.items() if not math.isnan(value := values[at])}

    @cached_property
    def _parts(self) -> dict[str, list[float]]:
        """As plain numbers: one call for a column costs less than one for each of ten numbers."""
        return {leg: values.tolist() for leg, values in self.parts.items()}

    def values_of(self, at: int) -> dict[str, float]:
        """Leg -> what its score counts for one document."""
        values = {leg: float(some[at]) for leg, some in self.values.items()}
        return {leg: value for leg, value in values.items() if not math.isnan(value)}

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Depths, postings, candidates and seconds."""
        plan, trace = self.plan, self.trace
        made: dict[str, Any] = {"strategy": str(plan.strategy)}
        if trace.rounds:
            last = trace.rounds[-1]
            made |= {
                "legs": dict(plan.first),
                "depth": last.depth,
                "rounds": len(trace.rounds),
                "candidates": last.candidates,
                "postings": {leg: asked.postings for leg, asked in last.legs.items()},
                "completed": {leg: sum(one.completed.get(leg, 0) for one in trace.rounds) for leg in plan.first},
                "reranked": trace.reranked,
                "estimated": trace.estimated,
            }
            recall = recall_of(self.segments) if "dense" in plan.first else None
            if recall is not None:
                asked = last.legs.get("dense")
                made["dense"] = {"effort": 0 if asked is None else asked.effort, **recall}
        else:
            made["candidates"] = trace.browsed
        return {**made, "steps": trace.steps, "seconds": trace.seconds}

    def weights_of(self, at: int) -> Mapping[str, float]:
        """The weights that made one document's score."""
        return self.plan.weights if at < self.trace.reranked or not self.plan.reranks else self.plan.first

    @cached_property
    def documents(self) -> Sequence[RankedDocument]:
        """The documents one by one."""
        return [
            RankedDocument(
                self.found.ids[at],
                int(self.found.owners[at]),
                int(self.found.numbers[at]),
                int(self.passages[at]),
                float(self.scores[at]),
                self.parts_of(at),
            )
            for at in range(len(self))
        ]


def rank(query: Query | None, snapshot: Snapshot, allowed: Allowed, plan: Plan, encode_seconds: float = 0.0) -> Ranking:
    """Run a plan over the allowed passages of a snapshot; without a query, the plan is to browse.

    Args:
        query: what is asked.
        snapshot: what is searched.
        allowed: as legs get it.
        plan: what to do.
        encode_seconds: that went into the query before, for the trace.
    """
    started = time.perf_counter()
    if query is None:
        return _browsed(snapshot, allowed, plan, started)
    stage, guarantee, rounds = settle(query, snapshot, allowed, plan, started)
    trace = Trace(list(rounds), encode_seconds=encode_seconds)
    before = time.perf_counter()
    if plan.borders:
        list_ = _with_earlier_pages(query, snapshot, allowed, plan, stage, trace, started)
    else:
        list_ = _List.of(snapshot, stage.pool, stage.best, plan.documents if plan.reranks else plan.wanted)
    trace.order_seconds = time.perf_counter() - before - sum(one.seconds for one in trace.rounds[: -len(rounds)])
    if plan.reranks:
        columns, guarantee = _reranked(query, snapshot, allowed, plan, list_, guarantee, trace, started)
    else:
        columns = list_.columns(plan.wanted)
    trace.seconds = encode_seconds + time.perf_counter() - started
    return Ranking(
        plan=plan,
        found=columns.found,
        passages=columns.passages,
        scores=columns.scores,
        parts=columns.parts,
        values=columns.values,
        guarantee=guarantee,
        bound=stage.round.bound,
        kth_score=stage.round.kth_score,
        trace=trace,
        segments=snapshot.manifest.segments,
    )


@frozen
class _Columns:
    """Documents in order, as `Ranking` has them."""

    found: Located
    passages: NDArray[np.int64]
    scores: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]
    values: Mapping[str, NDArray[np.float64]]

    def and_then(self, other: _Columns) -> _Columns:
        """These, then the others; a leg that has no part in one of both has NaN there."""

        def joined(
            one: Mapping[str, NDArray[np.float64]], two: Mapping[str, NDArray[np.float64]]
        ) -> Mapping[str, NDArray[np.float64]]:
            sides = ((one, len(self.passages)), (two, len(other.passages)))
            return {
                leg: np.concatenate([side.get(leg, np.full(count, math.nan)) for side, count in sides])
                for leg in {**one, **two}
            }

        return _Columns(
            self.found.and_then(other.found),
            np.concatenate([self.passages, other.passages]),
            np.concatenate([self.scores, other.scores]),
            joined(self.parts, other.parts),
            joined(self.values, other.values),
        )


@frozen
class _List:
    """Documents in order: the positions of their best passages in a pool, and who they are."""

    pool: Pool
    places: NDArray[np.intp]
    found: Located

    @classmethod
    def of(cls, snapshot: Snapshot, pool: Pool, best: NDArray[np.intp], count: int) -> Self:
        """The first `count` of a pool's best documents by (-score, id)."""
        places, found = Located.ordered(snapshot, pool.docids[best], pool.scores[best], count)
        return cls(pool, best[places], found)

    def columns(self, count: int) -> _Columns:
        """Scores and parts of the first `count`."""
        return _columns(self.pool, self.places[:count], self.found.first(count))


def _columns(pool: Pool, chosen: NDArray[np.intp], found: Located) -> _Columns:
    parts = {leg: values[chosen] for leg, values in pool.parts.items()}
    values = parts if pool.values is pool.parts else {leg: some[chosen] for leg, some in pool.values.items()}
    return _Columns(found, pool.docids[chosen], pool.scores[chosen], parts, values)


def _with_earlier_pages(
    query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan, stage: Stage, trace: Trace, started: float
) -> _List:
    """The list that a later page is cut from: what earlier pages were cut from, and then what they were not.

    Where documents tie across the end of an earlier list, or an approximate index proposed, a deeper search may see other
    documents there than the earlier one did: then that is repeated. Elsewhere the deeper one finds the very same.
    """
    list_ = _List.of(snapshot, stage.pool, stage.best, plan.documents)
    scores = list_.pool.scores[list_.places]
    ends = np.array([end for end in plan.borders if end < len(scores)], np.int64)
    proven = not (snapshot.approximate and "dense" in plan.first)
    if proven and (scores[ends - 1] - scores[ends] > 2 * stage.round.slack).all():
        return list_
    earlier_plan = plan.at(plan.borders[-1] - plan.k)
    earlier_stage, _, rounds = settle(query, snapshot, allowed, earlier_plan, started)
    trace.rounds[:0] = rounds
    if earlier_plan.borders:
        earlier = _with_earlier_pages(query, snapshot, allowed, earlier_plan, earlier_stage, trace, started)
    else:
        earlier = _List.of(snapshot, earlier_stage.pool, earlier_stage.best, earlier_plan.documents)
    shown = earlier.pool.docids[earlier.places]
    docids = np.union1d(list_.pool.docids, shown)
    known = [*earlier.pool.known(docids), *list_.pool.known(docids)]
    pool = Pool.of(query, snapshot, docids, plan.first, known, collapse=plan.collapse)
    rest = list_.pool.docids[list_.places]
    left = units(snapshot, rest, collapse=plan.collapse)
    rest = rest[~np.isin(left, units(snapshot, shown, collapse=plan.collapse))]
    places = np.searchsorted(pool.docids, np.concatenate([shown, rest])[: plan.documents])
    return _List(pool, places, Located.of(snapshot, pool.docids[places]))


def _reranked(
    query: Query,
    snapshot: Snapshot,
    allowed: Allowed,
    plan: Plan,
    list_: _List,
    guarantee: Guarantee,
    trace: Trace,
    started: float,
) -> tuple[_Columns, Guarantee]:
    """The rerank set by all legs, and behind it, where the answer goes on, what follows in the first stage's order."""
    before = time.perf_counter()
    pool, late = list_.pool, plan.max_ms is not None and 1000 * (before - started) > plan.max_ms
    count = plan.k if late else plan.rerank_set
    ordered = list_.places
    docids = pool.parents[ordered[:count]]
    docids = _passages_of(docids, snapshot, allowed) if plan.collapse else np.sort(docids)
    chosen = docids
    if plan.fusion.certified:
        chosen = shortlist(query, snapshot, docids, plan, pool.known(docids))
        again = Pool.of(query, snapshot, chosen, plan.weights, pool.known(chosen), collapse=plan.collapse)
    else:
        parts = complete(query, snapshot, chosen, plan.weights)
        there = {leg: np.ones(len(chosen), bool) for leg in plan.weights}
        again = Pool.fused(snapshot, chosen, parts, there, plan.weights, plan.fusion, collapse=plan.collapse)
    best = again.best(count)
    trace.estimated = len(ordered[:count]) if len(chosen) < len(docids) else 0
    trace.reranked = len(best)
    trace.rerank_seconds = time.perf_counter() - before
    columns = _List.of(snapshot, again, best, plan.wanted).columns(plan.wanted)
    if plan.wanted > len(columns.passages):
        rest = ordered[~np.isin(pool.parents[ordered], again.parents)][: plan.wanted - len(columns.passages)]
        columns = columns.and_then(_columns(pool, rest, Located.of(snapshot, pool.docids[rest])))
    trace.order_seconds += time.perf_counter() - before - trace.rerank_seconds
    if guarantee is Guarantee.BUDGET or late:
        return columns, Guarantee.BUDGET
    return columns, Guarantee.SHORTLIST if trace.estimated else Guarantee.RERANK


def _browsed(snapshot: Snapshot, allowed: Allowed, plan: Plan, started: float) -> Ranking:
    """What is allowed, by id; nothing was asked, so everything scores 0."""
    assert plan.strategy is Strategy.BROWSE
    docids = members(snapshot, allowed)
    docids = np.unique(units(snapshot, docids, collapse=plan.collapse))
    places, found = Located.ordered(snapshot, docids, np.zeros(len(docids)), plan.wanted)
    passages = docids[places]
    trace = Trace(
        browsed=len(docids), order_seconds=time.perf_counter() - started, seconds=time.perf_counter() - started
    )
    return Ranking(plan, found, passages, np.zeros(len(passages)), {}, {}, Guarantee.EXACT, -math.inf, None, trace, [])


def _passages_of(parents: NDArray[np.int64], snapshot: Snapshot, allowed: Allowed) -> NDArray[np.int64]:
    """All allowed passages of the documents that begin at these passages, ascending."""
    bitmaps = {segment.info.uuid: bitmap for segment, bitmap in zip(snapshot.segments, allowed, strict=True)}
    found = [np.empty(0, np.int64)]
    for segment, _, rows in snapshot.split(parents):
        passages = segment.passages_of(segment.documents_at(rows))
        bitmap = bitmaps[segment.info.uuid]
        if bitmap is not None:
            passages = passages[bitmap[passages >> 3] >> (passages & 7) & 1 == 1]
        found.append(passages + segment.base)
    return np.sort(np.concatenate(found))
