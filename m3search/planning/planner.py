"""Planner: decides how a query is answered.

Imports records and the plan. Invariant: a plan that was made can be run; whatever does not fit is said here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from m3search.errors import QueryError, WeightsError
from m3search.planning.fusion import Fusion
from m3search.planning.plan import LARGEST_K, Plan, Strategy, attempt_for, depth_for
from m3search.records import LEGS, PRESETS, Weights, WeightsLike

_FALLBACK = Weights(dense=1, lexical=0.3, bm25=1)
_FEW_ALLOWED = 1000
"""So many passages are scored sooner than a dense leg has gone through what is allowed; an inverted leg alone is as fast."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search asks for beside its weights.

    Attributes:
        offset: best documents to pass over.
        rerank: documents that ColBERT scores where it has a weight; 0 turns it off.
        fusion: "raw", "rrf", "minmax" or "zscore".
        missing: "complete" or "zero".
        depth: candidates of each leg; None: as many as are needed.
        max_ms: see `Plan`.
        max_candidates: see `Plan`.
        collapse: see `Plan`.

    Raises:
        QueryError: one is out of range.
    """

    offset: int = 0
    rerank: int = 0
    fusion: str = "raw"
    missing: str = "complete"
    depth: int | None = None
    max_ms: float | None = None
    max_candidates: int | None = None
    collapse: bool = True

    @classmethod
    def of(cls, *values: Any) -> Limits:  # noqa: ANN401 - of any field
        """The same for fields in order; most searches ask for what was asked for before, and checked."""
        try:
            return _limits(*values)
        except TypeError:  # what cannot be looked up is no limit: the check says which
            return cls(*values)

    def __post_init__(self) -> None:
        _check_whole("offset", self.offset, 0, "")
        _check_whole("rerank", self.rerank, 0, " (off)")
        if self.depth is not None:
            _check_whole("depth", self.depth, 1, "")
        if self.max_candidates is not None:
            _check_whole("max_candidates", self.max_candidates, 1, "")
        if not isinstance(self.collapse, bool):
            raise QueryError(f"collapse is {self.collapse!r}: give True for documents, False for passages")
        if self.max_ms is not None and not (_is_number(self.max_ms) and self.max_ms > 0):
            raise QueryError(f"max_ms is {self.max_ms!r}: give a number of milliseconds above 0, or None for no limit")


@lru_cache(maxsize=64, typed=True)
def _limits(*values: Any) -> Limits:  # noqa: ANN401 - of any field
    return Limits(*values)


def make_plan(
    k: int,
    weights: WeightsLike,
    default: Weights | None,
    *,
    index_legs: Collection[str],
    query_legs: Collection[str],
    limits: Limits | None = None,
    allowed: int | None = None,
    approximate: bool = False,
) -> Plan:
    """The plan for a query.

    Args:
        k: hits that are wanted.
        weights: as the user gave them; None takes `default`, and a preset its own, without the legs that index or query do
            not have.
        default: recommended by the index; None: `_FALLBACK`.
        index_legs: what the index has.
        query_legs: what the query has been, or can be, encoded for.
        limits: what else was asked for; None: nothing.
        allowed: passages that may be found; None: all.
        approximate: whether an approximate index proposes for the dense leg.

    Raises:
        QueryError: k out of range, an unknown fusion, or the query lacks a leg that weighs.
        WeightsError: a weight for a leg that the index does not have.
    """
    check_k(k)
    limits = limits or Limits()
    fusion = Fusion(limits.fusion, limits.missing)
    if not (weights is None or isinstance(weights, str | Weights)):
        weights = Weights.of(weights)
    return _planned(k, weights, default, tuple(index_legs), tuple(query_legs), limits, fusion, allowed, approximate)


@lru_cache(maxsize=256, typed=True)
def _planned(
    k: int,
    weights: Weights | str | None,
    default: Weights | None,
    index_legs: tuple[str, ...],
    query_legs: tuple[str, ...],
    limits: Limits,
    fusion: Fusion,
    allowed: int | None,
    approximate: bool,
) -> Plan:
    """One query is planned like the next; to look a plan up takes a tenth of making it."""
    chosen = _chosen(weights, default, index_legs, query_legs)
    if not limits.rerank and len(chosen) > 1:
        chosen.pop("colbert", None)
    first = {leg: weight for leg, weight in chosen.items() if leg != "colbert"}
    if not first:  # ColBERT alone: the other legs propose with their usual weights, or it scores everything itself
        others = [leg for leg in LEGS if leg in index_legs and leg in query_legs and leg != "colbert"]
        first = _restricted(default or _FALLBACK, others) or _restricted(_FALLBACK, others) or dict(chosen)
    reranks = "colbert" in chosen and "colbert" not in first
    reranked = max(k, limits.rerank) if reranks else 0
    strategy = _strategy(fusion, first, allowed, limits)
    exhaustive = "colbert" in first or ("dense" in first and not approximate)
    plan = Plan(
        k,
        chosen,
        first,
        depth=limits.depth or depth_for(max(k, reranked), exhaustive=exhaustive),
        rerank=reranked,
        strategy=strategy,
        fusion=fusion,
        max_ms=limits.max_ms,
        max_candidates=limits.max_candidates,
        collapse=limits.collapse,
    )
    if strategy is Strategy.BLEND and limits.depth is None:
        plan = dataclasses.replace(plan, attempt=attempt_for(first, plan.documents))
    return plan.at(limits.offset) if limits.offset else plan


def browsing(k: int, limits: Limits) -> Plan:
    """The plan where nothing is asked for but what is allowed."""
    check_k(k)
    return Plan(k, {}, {}, 0, offset=limits.offset, strategy=Strategy.BROWSE, collapse=limits.collapse)


def check_k(k: int) -> None:
    """Raises `QueryError` where k is no number of hits."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= LARGEST_K:
        raise QueryError(f"k is {k!r}: give a whole number from 1 to {LARGEST_K:,}")


def check_plan(plan: Plan, index_legs: Collection[str], query_legs: Collection[str]) -> Plan:
    """A plan that was handed in, if this index and query can follow it.

    Raises:
        QueryError: it is none, or the query lacks a leg that it asks.
        WeightsError: the index lacks one.
    """
    if not isinstance(plan, Plan):
        raise QueryError(f"plan is a {type(plan).__name__}: give what index.plan() returned")
    for weights in (plan.weights, plan.first):
        _check_legs(weights, index_legs, query_legs)
    return plan


def _strategy(fusion: Fusion, first: Mapping[str, float], allowed: int | None, limits: Limits) -> Strategy:
    if not fusion.certified:
        return Strategy.LISTS
    most = _FEW_ALLOWED if limits.max_candidates is None else min(_FEW_ALLOWED, limits.max_candidates)
    few = allowed is not None and allowed <= most
    return Strategy.ALLOWED if few and "dense" in first else Strategy.BLEND


def _chosen(
    weights: WeightsLike, default: Weights | None, index_legs: Collection[str], query_legs: Collection[str]
) -> dict[str, float]:
    usable = [leg for leg in LEGS if leg in index_legs and leg in query_legs]
    if isinstance(weights, str) and weights in PRESETS:
        chosen = _restricted(PRESETS[weights], usable)
        if not chosen:
            raise WeightsError(
                f"the preset {weights} weighs {_names(PRESETS[weights].positive())}, of which there is none here: "
                f"the index has {_names(index_legs)}, the query {_names(query_legs)}"
            )
        return chosen
    if weights is not None:
        chosen = Weights.of(weights).positive()
        _check_legs(chosen, index_legs, query_legs)
        return chosen
    chosen = _restricted(default or _FALLBACK, usable) or _restricted(_FALLBACK, usable) or dict.fromkeys(usable, 1.0)
    if not chosen:
        raise QueryError(
            f"this query has no part that the index can score: the index has {_names(index_legs)}, "
            f"the query {_names(query_legs)}; give encodings, or a text and an encoder"
        )
    return chosen


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


def _check_whole(name: str, value: object, least: int, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_K:
        raise QueryError(f"{name} is {value!r}: give a whole number from {least}{meaning} to {LARGEST_K:,}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _names(legs: Collection[str]) -> str:
    return ", ".join(leg for leg in LEGS if leg in legs) or "none"
