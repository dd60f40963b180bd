"""PassageLoop: the compiled loop of MaxSim over passages, tile by tile.

Imports the tile. Invariant: offsets are kept within the tokens that are there, so damaged ones give wrong scores and read
nothing outside an array.
"""

# ruff: noqa: ANN001, ANN202 - numba finds the types

from __future__ import annotations

import numpy as np
from numba import njit

from m3search.retrieval.compiling import borrowing, compiled
from m3search.retrieval.product_tile import LANES, TILE, product_tile, widened

_reordering = njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, _nrt=False)
"""Sums may be added in any order, which is one and the same whenever the machine is."""


@compiled
def score_passages(
    passages, codes, scales, ends, lanes, groups, steps, width, factors, curve, sign, exact, rows, row_factors, highest,
    winners, scores,
) -> None:  # fmt: skip
    """Writes f64[n] scores of passages i64[n]; what is beyond float32 is no number.

    `codes` [tokens, n], `scales` f32[tokens] (empty: 1) and `ends` i64[passages + 1] are as stored; from `lanes` to `exact`
    stands a `PackedQuery`, from `rows` to `winners` the scratch. They come one by one: numba keeps the types of what it
    compiled by their names, and a cache that names a class which a later version no longer has cannot be opened.
    """
    _score_passages(
        passages, codes, scales, ends, lanes, groups, steps, width, factors, curve, sign, exact, rows, row_factors, highest,
        winners, scores,
    )  # fmt: skip


@borrowing
def _score_passages(
    passages, codes, scales, ends, lanes, groups, steps, width, factors, curve, sign, exact, rows, row_factors, highest,
    winners, scores,
):  # fmt: skip
    tokens = len(codes)
    for place in range(len(passages)):
        first = min(max(ends[passages[place]], 0), tokens)
        stop = min(max(ends[passages[place] + 1], first), tokens)
        highest[: LANES * groups] = -np.inf
        winners[: LANES * groups] = 0
        for start in range(first, stop, TILE):
            for token in range(TILE):
                row = min(start + token, stop - 1)
                row_factors[token] = sign * (scales[row] if len(scales) else 1.0)
                _widen(codes[row], rows[token * width : (token + 1) * width])
            following = start + TILE
            if following >= stop and place + 1 < len(passages):
                following = ends[passages[place + 1]]
            for group in range(groups):
                product_tile(
                    lanes, group, rows, width, steps, row_factors, highest, winners, start - first, codes, following
                )
        if stop > first:
            total = 0.0
            for token in range(len(factors)):
                best = np.float64(highest[token])
                if np.isinf(
                    best
                ):  # there was no number, or none that float32 holds: which token is the best is not known
                    best = np.nan
                elif len(exact):
                    row = first + winners[token]
                    best = _product(exact[token], codes[row]) * scales[row]
                elif len(curve):
                    best = curve[min(max(int(-best), 0), len(curve) - 1)]
                total += factors[token] * best
            scores[place] = total / len(factors)
        else:
            scores[place] = 0.0


@borrowing
def _widen(codes, row):
    """Writes a token's codes into a row of the tile."""
    for column in range(len(codes)):
        row[column] = widened(codes[column])


@_reordering
def _product(query, codes):
    """The inner product, in float64."""
    total = 0.0
    for column in range(len(codes)):
        total += query[column] * np.float64(codes[column])
    return total
