"""MaxSim: a query's token vectors against those of stored passages.

Imports storage's token vectors and the loop over passages. Score: the mean, over the query's tokens, of the largest inner
product with a token of the passage; a passage without tokens scores 0. Products are made tile by tile in scratch that a
thread keeps, so that neither a passage's length nor the number of passages takes memory. Where a passage's tokens do not fill
a tile, its last token stands again: a repeated product changes no maximum, which a product with padding would. Invariant: a
passage's score depends on its stored values and the query alone.

Source: Khattab and Zaharia, ColBERT (2020), section 3.3; divided by the number of query tokens as BGE-M3 does.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.errors import QueryError
from m3search.retrieval import packed_query, passage_loop
from m3search.retrieval.product_tile import LANES, TILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.packed_query import PackedQuery
    from m3search.storage.token_vectors import TokenVectors

_NO_SCALES = np.empty(0, np.float32)
_NO_SCALES.flags.writeable = False


class _Scratch(NamedTuple):
    """rows [TILE * width], row_factors f32[TILE], highest f32[16 * groups], winners i32[16 * groups]."""

    rows: NDArray[Any]
    row_factors: NDArray[np.float32]
    highest: NDArray[np.float32]
    winners: NDArray[np.int32]


class _Thread(threading.local):
    def __init__(self) -> None:
        self.kept: dict[str, _Scratch] = {}


_thread = _Thread()


class MaxSim:
    """One query, ready to be scored against passages of any codec."""

    def __init__(self, query: NDArray[np.float32]) -> None:
        """Takes f32[m, dim], m > 0."""
        self._query = query

    @cached_property
    def _int8(self) -> PackedQuery:
        return packed_query.for_int8(self._query)

    @cached_property
    def _bf16(self) -> PackedQuery:
        return packed_query.for_bf16(self._query)

    @cached_property
    def _signs(self) -> PackedQuery:
        return packed_query.for_signs(self._query)

    def scores(self, vectors: TokenVectors, passages: NDArray[np.int64]) -> NDArray[np.float64]:
        """MaxSim f64[n] with the stored values of passages i64[n].

        Against int8, which token is the best is found with the query rounded to 16 bits (`packed_query.for_int8`), and its
        product is taken in float64 with the query as it is: so a score is never too high, and too low only where two tokens
        are nearer to each other than that rounding. Against bf16, products are summed in float32, in one order.
        """
        self._check(vectors)
        if vectors.scales is None:
            scores = _scores(self._bf16, vectors.codes, _NO_SCALES, vectors.ends, passages)
        else:
            scores = _scores(self._int8, vectors.codes, vectors.scales, vectors.ends, passages)
        for place in np.flatnonzero(~np.isfinite(scores)):  # beyond float32, or damaged
            scores[place] = max_sim(self._query, vectors.decode(int(passages[place])))
        return scores

    def estimates(self, vectors: TokenVectors, passages: NDArray[np.int64]) -> NDArray[np.float64]:
        """About the same, from the signs of components: to choose by, not to show."""
        self._check(vectors)
        assert vectors.signs is not None
        return _scores(self._signs, vectors.signs, _NO_SCALES, vectors.ends, passages)

    def _check(self, vectors: TokenVectors) -> None:
        if vectors.dim != self._query.shape[1]:
            raise QueryError(
                f"the query's token vectors are {self._query.shape[1]} wide, the index has {vectors.dim}: "
                f"encode the query with the encoder of the index"
            )


def max_sim(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    """The same in float64 over f32[m, dim] and f32[t, dim]; a product that is no number, as damage makes them, counts as 0."""
    if not len(document):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        products = query.astype(np.float64) @ document.astype(np.float64).T
    return float(np.where(np.isfinite(products), products, 0.0).max(axis=1).mean())


def warm() -> Any:  # noqa: ANN401 - numba's own type
    """Compile or load the loop for everything that is stored: the loop."""
    ends, place = _stored(np.array([0, 1])), np.zeros(1, np.int64)
    query = np.ones((1, 1), np.float32)
    for pack, dtype in (("for_int8", "i1"), ("for_bf16", "u2"), ("for_signs", "u4")):
        packed: PackedQuery = getattr(packed_query, pack)(query)
        _scores(packed, _stored(np.ones((1, 1), dtype)), _NO_SCALES, ends, place)
    return passage_loop.score_passages


def _stored(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _scores(
    query: PackedQuery,
    codes: NDArray[Any],
    scales: NDArray[np.float32],
    ends: NDArray[np.int64],
    passages: NDArray[np.int64],
) -> NDArray[np.float64]:
    numbers, scores = np.ascontiguousarray(passages, np.int64), np.empty(len(passages))
    passage_loop.score_passages(
        numbers, codes, scales, ends, query.lanes, query.groups, query.steps, query.width, query.factors, query.curve,
        query.sign, query.exact, *_scratch(query), scores,
    )  # fmt: skip
    return scores


def _scratch(query: PackedQuery) -> _Scratch:
    """This thread's arrays for a kind of code, grown to its widest query."""
    kind, rows, highest = query.lanes.dtype.name, TILE * query.width, LANES * query.groups
    kept = _thread.kept.get(kind)
    if kept is None or len(kept.rows) < rows or len(kept.highest) < highest:
        if kept is not None:
            rows, highest = max(rows, len(kept.rows)), max(highest, len(kept.highest))
        kept = _Scratch(
            rows=np.zeros(rows, query.lanes.dtype),
            row_factors=np.zeros(TILE, np.float32),
            highest=np.zeros(highest, np.float32),
            winners=np.zeros(highest, np.int32),
        )
        _thread.kept[kind] = kept
    return kept
