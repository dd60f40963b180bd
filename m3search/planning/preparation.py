"""Preparation: what a user asks, planned, encoded and analysed.

Imports the encoder by type only and analysis; knows an index by its config. Invariant: whatever is wrong with a query is
said before anything is encoded or searched, and texts that need the encoder go through it together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from m3search.analysis.analyzer import Analyzer
from m3search.errors import EncodingsError, QueryError
from m3search.planning.plan import Plan
from m3search.planning.planner import Limits, browsing, check_plan, make_plan
from m3search.records import Encodings, WeightsLike, frozen
from m3search.retrieval import Query

if TYPE_CHECKING:
    from m3search.encoder import Encoder
    from m3search.storage import IndexConfig


@frozen
class Wanted:
    """What a search asks for, whatever its query.

    Attributes:
        k: number of hits.
        weights: see `WeightsLike`.
        limits: everything else that the planner heeds.
        legs: may weigh; None: all that the index has.
        dense_effort: see `Query.dense_effort`.
        allowed: passages that may be found, where the user has named documents; None: all.
        plan: to be followed instead of all this; None: make one.
    """

    k: int
    weights: WeightsLike = None
    limits: Limits = field(default_factory=Limits)
    legs: Sequence[str] | None = None
    dense_effort: int | None = None
    allowed: int | None = None
    plan: Plan | None = None


@frozen
class Prepared:
    """A query that can be run.

    Attributes:
        query: None where there is nothing in it to search for.
        plan: how it is answered.
        text: as the user wrote it; "" of encodings.
        encode_seconds: that the encoder took, for all queries that went through it together.
    """

    query: Query | None
    plan: Plan
    text: str = ""
    encode_seconds: float = 0.0


def prepare(
    queries: Sequence[str | Encodings],
    given: Sequence[Encodings | None],
    wanted: Wanted,
    config: IndexConfig,
    encoder: Callable[[], Encoder],
    *,
    approximate: bool = False,
) -> list[Prepared]:
    """Plan every query, then encode together the texts whose plans need vectors.

    Args:
        queries: texts, or encodings of one row.
        given: per query the vectors of its text, where the user has them.
        wanted: see `Wanted`.
        config: of the index.
        encoder: gives the index's encoder, and is called only if a text needs it.
        approximate: whether the index's dense leg has an approximate index.

    Raises:
        QueryError: a query that the index cannot score.
        WeightsError: see `make_plan`.
        EncodingsError: vectors of another width than the index has.
    """
    effort = _checked_effort(wanted.dense_effort)
    plans = [
        planned(query, vectors, wanted, config, approximate=approximate)
        for query, vectors in zip(queries, given, strict=True)
    ]
    started = time.perf_counter()
    encoded = _encode(queries, given, plans, encoder)
    seconds = time.perf_counter() - started if encoded else 0.0
    analyzer = None if config.bm25 is None else Analyzer.from_dict(config.bm25["analyzer"])
    prepared: list[Prepared] = []
    for place, (query, vectors, plan) in enumerate(zip(queries, given, plans, strict=True)):
        if isinstance(query, Encodings):
            prepared.append(Prepared(Query.of(_checked(query, config), None, effort), plan))
        elif _is_blank(query, vectors):
            prepared.append(Prepared(None, plan))
        else:
            counts = None if analyzer is None else analyzer.counts(query)
            parts = encoded.get(place) if vectors is None else _checked(vectors, config)
            took = seconds if place in encoded else 0.0
            prepared.append(Prepared(Query.of(parts, counts, effort), plan, query, took))
    return prepared


def planned(
    query: str | Encodings,
    given: Encodings | None,
    wanted: Wanted,
    config: IndexConfig,
    *,
    approximate: bool = False,
) -> Plan:
    """The plan for one query, without looking into it; see `prepare`."""
    if not isinstance(query, (str, Encodings)):
        raise QueryError(f"the query is a {type(query).__name__}: give a text or Encodings of one row")
    if given is not None and not isinstance(given, Encodings):
        raise QueryError(f"the query's encodings are of type {type(given).__name__}: give Encodings of one row")
    vectors = query if isinstance(query, Encodings) else given
    if vectors is not None:
        legs = list(vectors.outputs)
    else:  # what the index's encoder can make of it
        legs = ["dense", "lexical", "colbert"] if config.encoder is not None else []
    legs = [*legs, "bm25"] if isinstance(query, str) else legs
    index_legs = config.legs if wanted.legs is None else [leg for leg in config.legs if leg in wanted.legs]
    if wanted.plan is not None:
        return check_plan(wanted.plan, index_legs, legs)
    if _is_blank(query, given) and wanted.allowed is not None:
        return browsing(wanted.k, wanted.limits)
    return make_plan(
        wanted.k,
        wanted.weights,
        config.weights,
        index_legs=index_legs,
        query_legs=legs,
        limits=wanted.limits,
        allowed=wanted.allowed,
        approximate=approximate,
    )


def _is_blank(query: str | Encodings, given: Encodings | None) -> bool:
    return isinstance(query, str) and not query.strip() and given is None


def _encode(
    queries: Sequence[str | Encodings],
    given: Sequence[Encodings | None],
    plans: Sequence[Plan],
    encoder: Callable[[], Encoder],
) -> dict[int, Encodings]:
    """Place of a query -> its encodings, for the texts that need any."""
    places: list[int] = []
    texts: list[str] = []
    outputs: set[str] = set()
    for place, (query, vectors, plan) in enumerate(zip(queries, given, plans, strict=True)):
        needed = (set(plan.weights) | set(plan.first)) - {"bm25"}
        if isinstance(query, str) and query.strip() and vectors is None and needed:
            places.append(place)
            texts.append(query)
            outputs |= needed
    if not texts:
        return {}
    encodings = encoder().encode(
        texts, query=True, dense="dense" in outputs, lexical="lexical" in outputs, colbert="colbert" in outputs
    )
    return {place: encodings.rows(row, row + 1) for row, place in enumerate(places)}


def _checked_effort(effort: int | None) -> int | None:
    if effort is None or (isinstance(effort, int) and not isinstance(effort, bool) and effort >= 1):
        return effort
    raise QueryError(
        f"dense_effort is {effort!r}: give a whole number from 1, or None for what was measured at the build"
    )


def _checked(encodings: Encodings, config: IndexConfig) -> Encodings:
    if len(encodings) != 1:
        raise QueryError(f"the query has {len(encodings)} rows: give encodings of one text")
    if encodings.dense is not None and config.dense_dim not in {None, encodings.dense.shape[1]}:
        raise EncodingsError(
            f"the query's dense vector is {encodings.dense.shape[1]} wide, the index has {config.dense_dim}: "
            f"encode it with the encoder that made the index's vectors"
        )
    if encodings.lexical is not None and config.vocab_size not in {None, encodings.lexical.shape[1]}:
        raise EncodingsError(
            f"the query's lexical weights are {encodings.lexical.shape[1]} wide, the index has {config.vocab_size}: "
            f"encode it with the encoder that made the index's weights"
        )
    if encodings.colbert and config.colbert_dim not in {None, encodings.colbert[0].shape[1]}:
        raise EncodingsError(
            f"the query's token vectors are {encodings.colbert[0].shape[1]} wide, the index has {config.colbert_dim}: "
            f"encode it with the encoder that made the index's vectors"
        )
    return encodings
