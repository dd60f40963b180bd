"""FirstStage: the legs propose, their candidates are completed and blended, and the result is proven or the legs look deeper.

Imports retrieval and storage's snapshot. Invariant: what a stage calls best is ordered by (-score, docid) and includes all that
tie with the last of it, and its guarantee is true.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from m3search import retrieval
from m3search.planning.blend import blend_bound
from m3search.planning.certificate import Guarantee, certify
from m3search.planning.completion import complete
from m3search.planning.narrowing import narrowed
from m3search.planning.plan import Plan, Strategy
from m3search.planning.pool import Pool, matches_only, united
from m3search.planning.trace import Asked, Round
from m3search.records import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval import Allowed, Query
    from m3search.storage import Snapshot


@frozen
class Stage:
    """What is known after a round.

    Attributes:
        round: what was done, in figures.
        pool: what of the candidates can be in the answer, scored.
        best: positions of the best documents.
        guarantee: what is proven; None: too little.
    """

    round: Round
    pool: Pool
    best: NDArray[np.intp]
    guarantee: Guarantee | None


def settle(
    query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan, started: float
) -> tuple[Stage, Guarantee, Sequence[Round]]:
    """The plan's first stage: the last round, what it proves, and all rounds.

    Args:
        query: what is asked.
        snapshot: what is searched.
        allowed: as legs get it.
        plan: of the search.
        started: `time.perf_counter` at its beginning, for what may take only so long.
    """
    if plan.strategy is Strategy.BLEND:
        return _deepened(query, snapshot, allowed, plan, started)
    run = _every_allowed if plan.strategy is Strategy.ALLOWED else _fused
    stage = run(query, snapshot, allowed, plan)
    assert stage.guarantee is not None
    return stage, stage.guarantee, [stage.round]


def _deepened(
    query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan, started: float
) -> tuple[Stage, Guarantee, Sequence[Round]]:
    """Ask the legs, deeper and deeper, until the certificate closes or the budget is spent."""
    deepest = math.inf if plan.max_candidates is None else max(1, plan.max_candidates // len(plan.first))
    depth = int(min(plan.start, deepest))
    stage, done = None, []
    attempt = math.ceil(plan.attempt * (snapshot.passages_per_document if plan.collapse else 1))
    if 0 < attempt < depth:
        stage = _ask(query, snapshot, allowed, plan, attempt, 0, None)
        done.append(stage.round)
        # of those that tie at rank k this may not have seen as many as the plan's depth will
        if stage.guarantee is Guarantee.EXACT:
            return stage, stage.guarantee, done
    rounds = 0
    while True:
        before = time.perf_counter()
        stage = _ask(query, snapshot, allowed, plan, depth, rounds, stage)
        done.append(stage.round)
        if stage.guarantee is not None:
            return stage, stage.guarantee, done
        now = time.perf_counter()
        # another round takes at least as long as this one did
        late = plan.max_ms is not None and 1000 * (2 * now - before - started) > plan.max_ms
        if late or depth >= deepest:
            return stage, Guarantee.BUDGET, done
        depth = int(min(2 * depth, deepest))
        rounds += 1


def _ask(
    query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan, depth: int, rounds: int, before: Stage | None
) -> Stage:
    """Ask all legs for `depth` candidates; what was scored before is not scored again."""
    proposals, asked = _proposed(query, snapshot, allowed, plan, depth)
    started = time.perf_counter()
    scored_before = None if before is None else before.pool
    candidates, pool, completed = narrowed(
        query, snapshot, proposals, plan.first, plan.documents, scored_before, collapse=plan.collapse
    )
    halfway = time.perf_counter()
    bound, slack = blend_bound(proposals, plan.first)
    best = pool.best(plan.documents)
    kth = float(pool.scores[best[plan.documents - 1]]) if len(best) >= plan.documents else None
    # without a dense or ColBERT leg a passage that no leg returned scores 0, and what scores 0 is no match
    nothing_left = bound == -np.inf or (matches_only(plan.first) and bound <= 0)
    guarantee = certify(kth, bound, slack, nothing_left=nothing_left, rounds=rounds)
    if guarantee is not None and not nothing_left and any(found.approximate for found in proposals.values()):
        guarantee = Guarantee.CANDIDATES
    report = Round(
        plan.documents, depth, asked, candidates, len(pool.docids), completed, bound, slack, kth, guarantee, halfway - started,
        time.perf_counter() - halfway,
    )  # fmt: skip
    return Stage(report, pool, best, guarantee)


def _proposed(
    query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan, depth: int
) -> tuple[Mapping[str, Candidates], Mapping[str, Asked]]:
    proposals, asked = {}, {}
    for leg in plan.first:
        started = time.perf_counter()
        found = proposals[leg] = retrieval.ALL[leg].search(query, snapshot, allowed, depth)
        asked[leg] = Asked(len(found), found.bound, found.postings, found.effort, time.perf_counter() - started)
    return proposals, asked


def _every_allowed(query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan) -> Stage:
    """Score all that may be found, which are few: nothing is unseen."""
    started = time.perf_counter()
    docids = retrieval.members(snapshot, allowed)
    pool = Pool.of(query, snapshot, docids, plan.first, collapse=plan.collapse)
    halfway = time.perf_counter()
    best = pool.best(plan.documents)
    return _whole(
        plan, pool, best, docids, {}, Guarantee.EXACT, (started, halfway), dict.fromkeys(plan.first, len(docids))
    )


def _fused(query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan) -> Stage:
    """Ask all legs once, and fuse what they return."""
    proposals, asked = _proposed(query, snapshot, allowed, plan, plan.depth)
    started = time.perf_counter()
    docids, places = united([found.docids for found in proposals.values()])
    there = {leg: np.ones(len(docids), bool) for leg in proposals}
    if plan.fusion.missing == "zero":
        for leg, own in zip(proposals, places, strict=True):
            there[leg][:] = False
            there[leg][own] = True
    parts = {leg: np.zeros(len(docids)) for leg in proposals}
    for leg, some in there.items():
        parts[leg][some] = complete(query, snapshot, docids[some], [leg])[leg]
    pool = Pool.fused(snapshot, docids, parts, there, plan.first, plan.fusion, collapse=plan.collapse)
    halfway = time.perf_counter()
    best = pool.best(plan.documents)
    completed = {leg: int(some.sum()) for leg, some in there.items()}
    return _whole(plan, pool, best, docids, asked, Guarantee.CANDIDATES, (started, halfway), completed)


def _whole(
    plan: Plan,
    pool: Pool,
    best: NDArray[np.intp],
    docids: NDArray[np.int64],
    asked: Mapping[str, Asked],
    guarantee: Guarantee,
    times: tuple[float, float],
    completed: Mapping[str, int],
) -> Stage:
    """A stage of one round, after which nothing else is looked at."""
    kth = float(pool.scores[best[plan.documents - 1]]) if len(best) >= plan.documents else None
    started, halfway = times
    report = Round(
        plan.documents, plan.depth if asked else 0, asked, len(docids), len(pool.docids), completed, -math.inf, 0.0, kth,
        guarantee, halfway - started, time.perf_counter() - halfway,
    )  # fmt: skip
    return Stage(report, pool, best, guarantee)
