"""Shortlist: the documents of a rerank set that are worth scoring with token vectors, where the index keeps their signs.

Imports retrieval and the pool. Signs are an eighth of the bytes and of the work, and order less exactly: so they only choose.
Invariant: what is chosen gets the scores that it would get without; what is not chosen is no hit, and the answer's guarantee
says that there was a choice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from m3search.planning.completion import Known
from m3search.planning.pool import Pool
from m3search.retrieval import ColbertLeg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from m3search.planning.plan import Plan
    from m3search.retrieval import Query
    from m3search.storage import Snapshot

# benchmarks/results/rerank.md: with these, the ten best of 200 are the same ten but for one in hundreds
_A_HIT = 4
_SHARE = 0.2


def shortlist_size(k: int, documents: int) -> int:
    """How many of a rerank set of `documents` are scored where k hits are wanted; not fewer than there are: all."""
    return max(_A_HIT * k, math.ceil(_SHARE * documents))


def shortlist(
    query: Query, snapshot: Snapshot, docids: NDArray[np.int64], plan: Plan, known: Sequence[Known]
) -> NDArray[np.int64]:
    """The passages i64[n] of the rerank set's best documents by estimate; all that are given where there is nothing to choose.

    Args:
        query: what is asked.
        snapshot: where the passages are.
        docids: passages of the rerank set's documents, ascending.
        plan: of the search.
        known: exact scores of theirs.
    """
    kept = shortlist_size(plan.k, plan.rerank_set)
    leg = ColbertLeg()
    if kept >= plan.rerank_set or not leg.can_estimate(snapshot):
        return docids
    # an estimate stands in the place of ColBERT's score, everything else is exact
    estimates = Known(leg.name, np.arange(len(docids)), leg.estimate(query, snapshot, docids))
    pool = Pool.of(query, snapshot, docids, plan.weights, [*known, estimates], collapse=plan.collapse)
    chosen: NDArray[np.int64] = docids[np.isin(pool.parents, pool.parents[pool.best(kept)])]
    return chosen
