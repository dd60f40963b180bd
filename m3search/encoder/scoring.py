"""Scores of pairs of texts, named as FlagEmbedding names them.

Imports records, errors and its neighbours. Invariant: a score is made of its own pair alone, so memory grows with a
chunk of pairs and never with its square, and no padding takes part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from m3search.errors import InputError, WeightsError
from m3search.records import Encodings, Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SCORES = ("colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense")
"""The five outputs, in FlagEmbedding's order."""

_CHUNK = 256


def score_pairs(
    pairs: Sequence[tuple[str, str]],
    weights: Sequence[float] | Weights | None,
    *,
    encode_queries: Callable[[list[str]], Encodings],
    encode_passages: Callable[[list[str]], Encodings],
) -> dict[str, list[float]]:
    """The five scores of every pair.

    Args:
        pairs: (query, passage).
        weights: of dense, sparse and colbert, or `Weights`; None weighs all three 1.
        encode_queries: distinct queries to all three outputs.
        encode_passages: distinct passages to all three outputs.

    Returns:
        One list for each name in `SCORES`. "sparse+dense" is 0 where both weigh 0.

    Raises:
        InputError: a pair that is no pair of texts.
        WeightsError: weights that make no blend.
    """
    w_dense, w_sparse, w_colbert = checked_weights(weights)
    checked = [_checked_pair(row, pair) for row, pair in enumerate(pairs)]
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    for start in range(0, len(checked), _CHUNK):
        chunk = checked[start : start + _CHUNK]
        queries, passages = (list(dict.fromkeys(side)) for side in zip(*chunk, strict=True))
        query_rows, passage_rows = ({text: row for row, text in enumerate(side)} for side in (queries, passages))
        q, p = encode_queries(queries), encode_passages(passages)
        rows = [(query_rows[query], passage_rows[passage]) for query, passage in chunk]
        dense, sparse, colbert = _dense(q, p, rows), _sparse(q, p, rows), _colbert(q, p, rows)
        first = w_dense * dense + w_sparse * sparse
        scores["colbert"] += colbert.tolist()
        scores["sparse"] += sparse.tolist()
        scores["dense"] += dense.tolist()
        scores["sparse+dense"] += (first / ((w_dense + w_sparse) or 1.0)).tolist()
        scores["colbert+sparse+dense"] += ((first + w_colbert * colbert) / (w_dense + w_sparse + w_colbert)).tolist()
    return scores


def checked_weights(weights: Sequence[float] | Weights | None) -> tuple[float, float, float]:
    """The weights of dense, sparse and colbert.

    Raises:
        WeightsError: not three finite numbers >= 0, or all of them 0.
    """
    if weights is None:
        return 1.0, 1.0, 1.0
    if isinstance(weights, Weights):
        weights = [weights.dense, weights.lexical, weights.colbert]
    if len(weights) != 3:
        raise WeightsError(f"{len(weights)} weights given: give three, of dense, sparse and colbert")
    dense, sparse, colbert = (float(weight) for weight in weights)
    for weight in (dense, sparse, colbert):
        if not math.isfinite(weight) or weight < 0:
            raise WeightsError(f"a weight is {weight}: give finite numbers >= 0")
    if dense + sparse + colbert == 0:
        raise WeightsError("all of dense, sparse and colbert weigh 0: at least one must weigh more")
    return dense, sparse, colbert


def _checked_pair(row: int, pair: object) -> tuple[str, str]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(side, str) for side in pair):
        raise InputError(f"pair {row} is no pair of texts: give (query, passage)")
    return pair[0], pair[1]


def _dense(q: Encodings, p: Encodings, rows: list[tuple[int, int]]) -> NDArray[np.float64]:
    assert q.dense is not None
    assert p.dense is not None
    left, right = (list(side) for side in zip(*rows, strict=True))
    products: NDArray[np.float64] = q.dense[left].astype(np.float64) * p.dense[right].astype(np.float64)
    return np.asarray(products.sum(axis=1), np.float64)


def _sparse(q: Encodings, p: Encodings, rows: list[tuple[int, int]]) -> NDArray[np.float64]:
    assert q.lexical is not None
    assert p.lexical is not None
    left, right = (list(side) for side in zip(*rows, strict=True))
    products = q.lexical[left].astype(np.float64) * p.lexical[right].astype(np.float64)
    return np.asarray(products.sum(axis=1), np.float64)


def _colbert(q: Encodings, p: Encodings, rows: list[tuple[int, int]]) -> NDArray[np.float64]:
    assert q.colbert is not None
    assert p.colbert is not None
    return np.array([_max_sim(q.colbert[left], p.colbert[right]) for left, right in rows], np.float64)


def _max_sim(query: NDArray[np.float32], passage: NDArray[np.float32]) -> float:
    """Mean over the query's tokens of the best product with a passage token (BGE-M3 paper, section 3.2)."""
    return float((query @ passage.T).max(axis=1).mean(dtype=np.float64))
