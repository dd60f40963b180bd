"""Preparation: what a user asks, encoded, analysed and planned.

Imports the encoder by type only and analysis; knows an index by its config. Invariant: whatever is wrong with a query is
said before anything is encoded or searched, and texts that need the encoder go through it together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3search.analysis.analyzer import Analyzer
from m3search.errors import EncodingsError, QueryError
from m3search.planning.plan import Plan, make_plan
from m3search.records import Encodings, Weights
from m3search.retrieval import Query

if TYPE_CHECKING:
    from m3search.encoder import Encoder
    from m3search.storage import IndexConfig

WeightsLike = Weights | Mapping[str, float] | str | None
"""Weights as users write them; None takes those stored with the index."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search asks for, whatever its query.

    Attributes:
        k: number of hits.
        weights: see `WeightsLike`.
        rerank: documents that ColBERT scores; 0: none.
        legs: may weigh; None: all that the index has.
        dense_effort: see `Query.dense_effort`.
    """

    k: int
    weights: WeightsLike = None
    rerank: int = 0
    legs: Sequence[str] | None = None
    dense_effort: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A query that can be run; `query` is None where there is nothing in it to search for."""

    query: Query | None
    plan: Plan


def prepare(
    queries: Sequence[str | Encodings],
    given: Sequence[Encodings | None],
    wanted: Wanted,
    config: IndexConfig,
    encoder: Callable[[], Encoder],
) -> list[Prepared]:
    """Plan every query, then encode together the texts whose plans need vectors.

    Args:
        queries: texts, or encodings of one row.
        given: per query the vectors of its text, where the user has them.
        wanted: see `Wanted`.
        config: of the index.
        encoder: gives the index's encoder, and is called only if a text needs it.

    Raises:
        QueryError: a query that the index cannot score.
        WeightsError: see `make_plan`.
        EncodingsError: vectors of another width than the index has.
    """
    effort = _checked_effort(wanted.dense_effort)
    plans = [_plan(query, vectors, wanted, config) for query, vectors in zip(queries, given, strict=True)]
    encoded = _encode(queries, given, plans, encoder)
    analyzer = None if config.bm25 is None else Analyzer.from_dict(config.bm25["analyzer"])
    prepared: list[Prepared] = []
    for place, (query, vectors, plan) in enumerate(zip(queries, given, plans, strict=True)):
        if isinstance(query, Encodings):
            prepared.append(Prepared(Query.of(_checked(query, config), None, effort), plan))
        elif not query.strip() and vectors is None:
            prepared.append(Prepared(None, plan))
        else:
            counts = None if analyzer is None else analyzer.counts(query)
            parts = encoded.get(place) if vectors is None else _checked(vectors, config)
            prepared.append(Prepared(Query.of(parts, counts, effort), plan))
    return prepared


def _plan(query: str | Encodings, given: Encodings | None, wanted: Wanted, config: IndexConfig) -> Plan:
    if not isinstance(query, (str, Encodings)):
        raise QueryError(f"the query is a {type(query).__name__}: give a text or Encodings of one row")
    if given is not None and not isinstance(given, Encodings):
        raise QueryError(f"the query's encodings are of type {type(given).__name__}: give Encodings of one row")
    vectors = query if isinstance(query, Encodings) else given
    if vectors is not None:
        legs = list(vectors.outputs)
    else:  # what the index's encoder can make of it
        legs = ["dense", "lexical", "colbert"] if config.encoder is not None else []
    return make_plan(
        wanted.k,
        None if wanted.weights is None else Weights.of(wanted.weights),
        config.weights,
        index_legs=config.legs if wanted.legs is None else [leg for leg in config.legs if leg in wanted.legs],
        query_legs=[*legs, "bm25"] if isinstance(query, str) else legs,
        rerank=wanted.rerank,
    )


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
