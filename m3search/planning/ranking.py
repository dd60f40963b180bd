"""Ranking: runs a plan: propose, complete, blend, collapse, certify or deepen, rerank.

Imports retrieval and storage's snapshot. Invariant: documents are ordered by (-score, id), and a document scores as its
best passage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search import retrieval
from m3search.planning.blend import blend_bound
from m3search.planning.certificate import Guarantee, certify
from m3search.planning.located import Located
from m3search.planning.narrowing import narrowed
from m3search.planning.pool import Pool, matches_only
from m3search.planning.shortlist import shortlist
from m3search.storage import recall_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.planning.plan import Plan
    from m3search.records import Candidates
    from m3search.retrieval import Allowed, Query
    from m3search.storage import Snapshot


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
    """What a plan found, in columns: at most k documents, best first.

    Attributes:
        found: ids and places of the documents.
        passages: i64[n], docids of their best passages.
        scores: f64[n], the blend of `parts`.
        parts: leg -> f64[n], exact scores of the best passages.
        guarantee: what is proven.
        bound: what no unseen passage exceeds in the first stage.
        kth_score: the first stage's score at the last rank that had to be settled; None with fewer documents.
        statistics: depths, postings, candidates and seconds.
    """

    found: Located
    passages: NDArray[np.int64]
    scores: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]
    guarantee: Guarantee
    bound: float
    kth_score: float | None
    statistics: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.passages)

    def parts_of(self, at: int) -> dict[str, float]:
        """Leg -> exact score of one document."""
        return {leg: float(values[at]) for leg, values in self.parts.items()}

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


def rank(query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan) -> Ranking:
    """Run a plan over the allowed passages of a snapshot."""
    started = time.perf_counter()
    stage, guarantee, rounds = _first_stage(query, snapshot, allowed, plan)
    pool, best, reranked, estimated = stage.pool, stage.best, 0, 0
    if plan.weights != plan.first:
        places, _ = Located.ordered(snapshot, pool.docids[best], pool.scores[best], plan.documents)
        docids = _passages_of(pool.parents[best[places]], snapshot, allowed)
        chosen = shortlist(query, snapshot, docids, plan, pool.known(docids))
        estimated = len(places) if len(chosen) < len(docids) else 0
        pool = Pool.of(query, snapshot, chosen, plan.weights, pool.known(chosen))
        best, guarantee = pool.best(plan.documents), Guarantee.SHORTLIST if estimated else Guarantee.RERANK
        reranked = len(best)
    places, found = Located.ordered(snapshot, pool.docids[best], pool.scores[best], plan.k)
    best = best[places]
    statistics = {
        "legs": dict(plan.first),
        "depth": stage.depth,
        "rounds": rounds,
        "candidates": stage.candidates,
        "postings": {leg: proposed.postings for leg, proposed in stage.proposals.items()},
        "reranked": reranked,
        "estimated": estimated,
    }
    recall = recall_of(snapshot.manifest.segments) if "dense" in plan.first else None
    if recall is not None:
        statistics["dense"] = {"effort": stage.proposals["dense"].effort, **recall}
    statistics["seconds"] = time.perf_counter() - started
    return Ranking(
        found=found,
        passages=pool.docids[best],
        scores=pool.scores[best],
        parts={leg: values[best] for leg, values in pool.parts.items()},
        guarantee=guarantee,
        bound=stage.bound,
        kth_score=stage.kth_score,
        statistics=statistics,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """What the legs proposed at a depth.

    Attributes:
        depth: that depth.
        proposals: by leg.
        candidates: how many passages these are.
        pool: what of them can be in the answer, scored.
        best: positions of the best documents.
        bound: what no unseen passage exceeds.
        kth_score: at the last rank that has to be settled.
        guarantee: what is proven; None: too little.
    """

    depth: int
    proposals: Mapping[str, Candidates]
    candidates: int
    pool: Pool
    best: NDArray[np.intp]
    bound: float
    kth_score: float | None
    guarantee: Guarantee | None


def _first_stage(query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan) -> tuple[_Stage, Guarantee, int]:
    """Ask the legs, deeper and deeper, until the certificate closes: the last stage, what it proves, and the rounds."""
    stage, asked = None, 0
    attempt = math.ceil(plan.attempt * snapshot.passages_per_document)
    if 0 < attempt < plan.depth:
        stage, asked = _ask(query, snapshot, allowed, plan, attempt, 0, None), 1
        # of those that tie at rank k this may not have seen as many as the plan's depth will
        if stage.guarantee is Guarantee.EXACT:
            return stage, stage.guarantee, asked
    rounds = 0
    while True:
        stage = _ask(query, snapshot, allowed, plan, plan.depth << rounds, rounds, stage)
        rounds += 1
        if stage.guarantee is not None:
            return stage, stage.guarantee, asked + rounds


def _ask(
    query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan, depth: int, rounds: int, before: _Stage | None
) -> _Stage:
    """Ask all legs of the first stage for `depth` candidates; what was scored before is not scored again."""
    proposals = {leg: retrieval.ALL[leg].search(query, snapshot, allowed, depth) for leg in plan.first}
    scored_before = None if before is None else before.pool
    candidates, docids, known = narrowed(query, snapshot, proposals, plan.first, plan.documents, scored_before)
    pool = Pool.of(query, snapshot, docids, plan.first, known)
    bound, slack = blend_bound(proposals, plan.first)
    best = pool.best(plan.documents)
    kth = float(pool.scores[best[plan.documents - 1]]) if len(best) >= plan.documents else None
    # without a dense or ColBERT leg a passage that no leg returned scores 0, and what scores 0 is no match
    nothing_left = bound == -np.inf or (matches_only(plan.first) and bound <= 0)
    guarantee = certify(kth, bound, slack, nothing_left=nothing_left, rounds=rounds)
    if guarantee is not None and not nothing_left and any(found.approximate for found in proposals.values()):
        guarantee = Guarantee.CANDIDATES
    return _Stage(depth, proposals, candidates, pool, best, bound, kth, guarantee)


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
