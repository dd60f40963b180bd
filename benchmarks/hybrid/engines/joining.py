"""Joining: how a stack by hand makes one answer of two lists, compiled by numba: what one would write who knows how to.

Both loops walk over the candidates of both sides once, each document once, and keep the best K in an array by insertion.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_FAST = {"reassoc", "contract", "nsz", "arcp"}  # lets the dot product be summed eight or sixteen at a time


@numba.njit(fastmath=_FAST, error_model="numpy", cache=True)
def completed(
    dense_ids: Any,
    lexical_ids: Any,
    query: Any,
    terms: Any,
    weights: Any,
    vectors: Any,
    ends: Any,
    row_terms: Any,
    row_weights: Any,
    table: Any,
    seen: Any,
    stamp: int,
    shares: Any,
    best: Any,
    scores: Any,
) -> int:
    """Every candidate's true blend, from its stored vector and its stored weights.

    Args:
        dense_ids: i64[any], -1 where there is none.
        lexical_ids: i64[any].
        query: f32[dim].
        terms: u32[q], the query's.
        weights: f32[q], theirs.
        vectors: f32[n, dim].
        ends: i64[n + 1], of the rows of term weights.
        row_terms: i32[postings].
        row_weights: f32[postings].
        table: f32[vocabulary], 0; is so again afterwards.
        seen: u32[n], nowhere `stamp`.
        stamp: of this query.
        shares: f32[2], of dense and lexical in the blend.
        best: i64[K], becomes the best documents.
        scores: f32[K], theirs, falling.

    Returns:
        How many of `best` there are.
    """
    for at in range(len(terms)):
        table[terms[at]] = weights[at]
    count = 0
    for side in range(2):
        ids = dense_ids if side == 0 else lexical_ids
        for document in ids:
            if document < 0 or seen[document] == stamp:
                continue
            seen[document] = stamp
            dense = np.float32(0)
            for at in range(len(query)):
                dense += vectors[document, at] * query[at]
            lexical = np.float32(0)
            for at in range(ends[document], ends[document + 1]):
                lexical += table[row_terms[at]] * row_weights[at]
            count = _kept(best, scores, count, document, shares[0] * dense + shares[1] * lexical)
    for term in terms:
        table[term] = 0
    return count


@numba.njit(error_model="numpy", cache=True)
def zero_filled(
    dense_ids: Any,
    dense_scores: Any,
    lexical_ids: Any,
    lexical_scores: Any,
    sums: Any,
    shares: Any,
    best: Any,
    scores: Any,
) -> int:
    """The sum of what both sides say, where a side that did not find a document says 0.

    Args:
        dense_ids: i64[any], -1 where there is none.
        dense_scores: f32[any].
        lexical_ids: i64[any].
        lexical_scores: f32[any].
        sums: f32[n], 0; is so again afterwards.
        shares: f32[2], of dense and lexical in the blend.
        best: i64[K], becomes the best documents.
        scores: f32[K], theirs, falling.

    Returns:
        How many of `best` there are.
    """
    for at in range(len(lexical_ids)):
        sums[lexical_ids[at]] = shares[1] * lexical_scores[at]
    count = 0
    for at in range(len(dense_ids)):
        document = dense_ids[at]
        if document >= 0:
            count = _kept(best, scores, count, document, sums[document] + shares[0] * dense_scores[at])
            sums[document] = 0
    for document in lexical_ids:
        if sums[document] != 0:
            count = _kept(best, scores, count, document, sums[document])
            sums[document] = 0
    return count


@numba.njit(error_model="numpy", cache=True)
def _kept(best: Any, scores: Any, count: int, document: int, score: float) -> int:
    """Puts a document where it belongs among the best so far; how many these are now."""
    if count == len(best):
        if score <= scores[count - 1]:
            return count
        count -= 1
    place = count
    while place > 0 and scores[place - 1] < score:
        best[place], scores[place] = best[place - 1], scores[place - 1]
        place -= 1
    best[place], scores[place] = document, score
    return count + 1
