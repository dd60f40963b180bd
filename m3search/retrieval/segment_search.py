"""Segment search: one compiled call from a query's terms to the exact best passages of a segment.

Imports numba, its neighbours and storage's layout. Owns what surrounds `block_max`: weights become whole units, candidates
get their exact scores, and the best are put in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from m3search.retrieval.best_first import best_first
from m3search.retrieval.block_max import search_blocks
from m3search.retrieval.forward import score_frequencies, score_weights
from m3search.storage import LARGEST_IMPACT

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNITS = 2.0**30  # of the largest possible score: leaves two bits of a u32 for what rounding up adds
_MOST = 2.0**32 - 1
_SLACK = 1024  # stored worths were rounded up to float32


@njit(cache=True, nogil=True)
def search_segment(
    numbers: NDArray[np.int64],
    weights: NDArray[np.float64],
    scales: NDArray[np.float32],
    ranked: NDArray[np.uint16],
    rare_ends: NDArray[np.int64],
    frequent: NDArray[np.uint32],
    rare: NDArray[np.uint32],
    block_max: NDArray[np.uint8],
    block_starts: NDArray[np.uint16],
    group_starts: NDArray[np.int64],
    local: NDArray[np.uint16],
    row_ends: NDArray[np.int64],
    row_terms: NDArray[np.uint32],
    row_values: NDArray[Any],
    lengths: NDArray[np.uint32],
    allowed: NDArray[np.uint64],
    depth: int,
    rank: int,
    least: float,
    k1: float,
    b: float,
    average: float,
    growth: float,
    shrinkage: float,
    sums: NDArray[np.uint32],
    partials: NDArray[np.uint32],
    bounds: NDArray[np.uint32],
    order: NDArray[np.int32],
    found: NDArray[np.uint32],
    uppers: NDArray[np.uint32],
    exact: NDArray[np.float64],
) -> tuple[int, int]:
    """The best `depth` passages of a segment that score above 0, best first: how many, and the postings that were read.

    Args:
        numbers: i64[q], ascending but for -1, a term that the segment does not have.
        weights: f64[q] >= 0, of the query's terms.
        scales: as in `block_postings`, and so are the next eight.
        ranked: see there.
        rare_ends: see there.
        frequent: see there.
        rare: see there.
        block_max: see there.
        block_starts: see there.
        group_starts: see there.
        local: see there.
        row_ends: as in `postings`, and so are the next three; empty lengths stand for weights instead of term frequencies.
        row_terms: see there.
        row_values: see there.
        lengths: see there.
        allowed: u64[b], bit i for passage i of the block; empty: all.
        depth: how many are wanted.
        rank: column of `ranked` whose rank is at least `depth`; -1 where what is stored there may be dead or not allowed.
        least: nothing below this score is wanted.
        k1: of BM25, and so are the next two.
        b: see there.
        average: see there.
        growth: what postings add now is at most this, at least 1, times what was stored.
        shrinkage: what they add now is at least this, at most 1, times what was stored.
        sums: u32[64 blocks] of zeros, left as zeros.
        partials: u32[blocks] of zeros, left as zeros.
        bounds: u32[blocks], scratch.
        order: i32[blocks], scratch.
        found: u32[64 blocks + 1]: is filled with passages.
        uppers: u32[64 blocks + 1], scratch.
        exact: f64[64 blocks + 1]: is filled with their scores.
    """
    most = 0.0
    known = 0
    for term in range(len(numbers)):
        if numbers[term] >= 0 and weights[term] > 0:
            most += weights[term] * np.float64(scales[numbers[term]]) * growth
            known += 1
    if known == 0:
        return 0, 0
    unit = most * LARGEST_IMPACT / _UNITS
    terms = np.empty(known, np.uint32)
    term_weights = np.empty(known)
    rare_starts = np.empty(known, np.int64)
    rare_stops = np.empty(known, np.int64)
    rare_factors = np.empty(known, np.uint32)
    rows = np.empty(known, np.int64)
    row_factors = np.empty(known, np.uint32)
    known = rares = listed = 0
    error, reached = np.int64(_SLACK), np.int64(0)
    for term in range(len(numbers)):
        number = numbers[term]
        if number < 0 or not weights[term] > 0:
            continue
        terms[known], term_weights[known] = number, weights[term]
        known += 1
        gain = weights[term] * np.float64(scales[number]) * growth
        factor = np.uint32(min(max(np.ceil(gain / unit * (1 + 2.0**-40)), 1.0), _UNITS))
        error += np.int64(factor) + LARGEST_IMPACT + 1
        if rank >= 0:
            reached = max(reached, np.int64(factor) * np.int64(ranked[number, rank]))
        row = np.searchsorted(frequent, np.uint32(number))
        if row < len(frequent) and frequent[row] == number:
            rows[listed], row_factors[listed] = row, factor
            listed += 1
        else:
            rare_starts[rares], rare_stops[rares], rare_factors[rares] = (
                rare_ends[number],
                rare_ends[number + 1],
                factor,
            )
            rares += 1
    floor = max(np.int64(min(least / unit, _MOST)) - 1, 1)
    passages = len(row_ends) - 1
    count, postings = search_blocks(
        rare_starts[:rares],
        rare_stops[:rares],
        rare_factors[:rares],
        rows[:listed],
        row_factors[:listed],
        rare,
        block_max,
        block_starts,
        group_starts,
        local,
        allowed,
        passages,
        depth,
        floor,
        reached,
        error,
        shrinkage / growth,
        sums,
        partials,
        bounds,
        order,
        found,
        uppers,
    )
    if len(lengths):
        score_frequencies(
            found[:count], terms, term_weights, row_ends, row_terms, row_values, lengths, k1, b, average, exact[:count]
        )
    else:
        score_weights(found[:count], terms, term_weights, row_ends, row_terms, row_values, exact[:count])
    kept = 0
    for position in range(count):
        if exact[position] > 0 and exact[position] >= least:
            found[kept], exact[kept] = found[position], exact[position]
            kept += 1
    return best_first(found[:kept], exact[:kept], depth), postings
