"""Plan: which legs propose, how deep, what they weigh, and how many are reranked.

Imports records and storage's config. Invariant: a plan that was made can be run; whatever does not fit is said here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from m3search.errors import QueryError, WeightsError
from m3search.records import LEGS, Weights

_FIRST_DEPTH = 100
_FALLBACK = Weights(dense=1, lexical=0.3, bm25=1)
LARGEST_K = 10**7

_INVERTED = {"lexical", "bm25"}  # their order is that of the answer, and asking them for more costs more
_TIES = 4  # one more proves the answer, and some more find the end of most ties at rank k
_TIES_SHARE = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """A search, decided.

    Attributes:
        k: hits that are wanted.
        weights: leg -> weight > 0 of the final blend, in the blend's order.
        first: leg -> weight > 0 of the first stage, which proposes and is certified.
        depth: how many candidates each leg is asked for at first; doubled until the certificate closes.
        rerank: documents that ColBERT scores; 0 where it has no part.
        attempt: documents that a leg is asked for before `depth`, where that often proves the answer already; 0: none.
    """

    k: int
    weights: Mapping[str, float]
    first: Mapping[str, float]
    depth: int
    rerank: int = 0
    attempt: int = 0

    @property
    def documents(self) -> int:
        """How many the first stage must settle: k, or the rerank set."""
        return max(self.k, self.rerank)


def make_plan(
    k: int,
    weights: Weights | None,
    default: Weights | None,
    *,
    index_legs: Collection[str],
    query_legs: Collection[str],
    rerank: int,
) -> Plan:
    """The plan for a query.

    Args:
        k: hits that are wanted.
        weights: as the user gave them; None takes `default`, without the legs that index or query do not have.
        default: recommended by the index; None: `_FALLBACK`.
        index_legs: what the index has.
        query_legs: what the query has been, or can be, encoded for.
        rerank: how many documents ColBERT scores where it has a weight; 0 turns it off.

    Raises:
        QueryError: k or rerank out of range, or the query lacks a leg that weighs.
        WeightsError: a weight for a leg that the index does not have.
    """
    check_k(k)
    if isinstance(rerank, bool) or not isinstance(rerank, int) or not 0 <= rerank <= LARGEST_K:
        raise QueryError(f"rerank is {rerank!r}: give a whole number from 0 (off) to {LARGEST_K:,}")
    usable = [leg for leg in LEGS if leg in index_legs and leg in query_legs]
    if weights is None:
        chosen = (
            _restricted(default or _FALLBACK, usable) or _restricted(_FALLBACK, usable) or dict.fromkeys(usable, 1.0)
        )
        if not chosen:
            raise QueryError(
                f"this query has no part that the index can score: the index has {_names(index_legs)}, "
                f"the query {_names(query_legs)}; give encodings, or a text and an encoder"
            )
    else:
        chosen = weights.positive()
        _check_legs(chosen, index_legs, query_legs)
    if not rerank and len(chosen) > 1:
        chosen.pop("colbert", None)
    first = {leg: weight for leg, weight in chosen.items() if leg != "colbert"}
    if not first:  # ColBERT alone: the other legs propose with their usual weights, or it scores everything itself
        others = [leg for leg in usable if leg != "colbert"]
        first = _restricted(default or _FALLBACK, others) or _restricted(_FALLBACK, others) or dict(chosen)
    reranks = "colbert" in chosen and "colbert" not in first
    reranked = max(k, rerank) if reranks else 0
    documents = max(k, reranked)
    attempt = documents + _TIES + documents // _TIES_SHARE if len(first) == 1 and set(first) <= _INVERTED else 0
    return Plan(k, chosen, first, max(_FIRST_DEPTH, 2 * documents), reranked, attempt)


def check_k(k: int) -> None:
    """Raises `QueryError` where k is no number of hits."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= LARGEST_K:
        raise QueryError(f"k is {k!r}: give a whole number from 1 to {LARGEST_K:,}")


def _restricted(weights: Weights, legs: Collection[str]) -> dict[str, float]:
    return {leg: weight for leg, weight in weights.positive().items() if leg in legs}


def _check_legs(weights: Mapping[str, float], index_legs: Collection[str], query_legs: Collection[str]) -> None:
    for leg in weights:
        if leg not in index_legs:
            raise WeightsError(
                f"{leg} weighs {weights[leg]:g}, but this index has no {leg} leg: it has {_names(index_legs)}"
            )
        if leg not in query_legs:
            raise QueryError(
                f"{leg} weighs {weights[leg]:g}, but the query has nothing for it: it has {_names(query_legs)}"
            )


def _names(legs: Collection[str]) -> str:
    return ", ".join(leg for leg in LEGS if leg in legs) or "none"
