"""Forward scores: compiled loops from passages to their exact scores, out of the forward store.

Imports numba. The one arithmetic behind every lexical and BM25 score that is ever shown: float64, a query's terms in ascending
order, whatever passages are asked for together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from m3search.retrieval.intrinsics import float_of, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHORT = 160
_HALF_BIAS = 112 << 23
"""Between the exponents of f16 and f32."""


@njit(cache=True, nogil=True)
def score_weights(
    passages: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float64],
    row_ends: NDArray[np.int64],
    row_terms: NDArray[np.uint32],
    row_values: NDArray[Any],
    scores: NDArray[np.float64],
) -> None:
    """Sums of query weight times stored weight.

    Args:
        passages: u32[n], in the segment.
        numbers: u32[q], the query's term numbers in the segment, ascending.
        weights: f64[q].
        row_ends: i64[passages + 1], as in `postings`; likewise `row_terms`.
        row_terms: u32[p].
        row_values: f32[p]; or the bits of normal f16 as u16[p].
        scores: f64[n], is filled.
    """
    for position in range(len(passages)):
        _fetch_ahead(passages, position, row_ends, row_terms)
        passage = passages[position]
        row = row_terms[row_ends[passage] : row_ends[passage + 1]]
        values = row_values[row_ends[passage] : row_ends[passage + 1]]
        total = 0.0
        for term in range(len(numbers)):
            place = _at_or_after(row, numbers[term])
            if place < len(row) and row[place] == numbers[term]:
                total += weights[term] * _weight(values, place)
        scores[position] = total


@njit(cache=True, nogil=True)
def score_frequencies(
    passages: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float64],
    row_ends: NDArray[np.int64],
    row_terms: NDArray[np.uint32],
    row_values: NDArray[Any],
    lengths: NDArray[np.uint32],
    k1: float,
    b: float,
    average: float,
    scores: NDArray[np.float64],
) -> None:
    """Sums of query weight times saturated term frequency.

    Args:
        passages: as for `score_weights`, and so are the next five but for `row_values`.
        numbers: see there.
        weights: see there.
        row_ends: see there.
        row_terms: see there.
        row_values: u16[p] or u32[p], term frequencies.
        lengths: u32[passages].
        k1: saturation of the term frequency.
        b: how much the length counts.
        average: mean length.
        scores: f64[n], is filled.
    """
    for position in range(len(passages)):
        _fetch_ahead(passages, position, row_ends, row_terms)
        passage = passages[position]
        row = row_terms[row_ends[passage] : row_ends[passage + 1]]
        values = row_values[row_ends[passage] : row_ends[passage + 1]]
        norm = k1 * (1 - b + b * (np.float64(lengths[passage]) / average))
        total = 0.0
        for term in range(len(numbers)):
            place = _at_or_after(row, numbers[term])
            if place < len(row) and row[place] == numbers[term]:
                frequency = np.float64(values[place])
                total += weights[term] * (frequency / (frequency + norm))
        scores[position] = total


@njit(cache=True, nogil=True)
def _fetch_ahead(
    passages: NDArray[np.uint32], position: int, row_ends: NDArray[np.int64], row_terms: NDArray[np.uint32]
) -> None:
    if position + 8 < len(passages):
        prefetch(row_ends, np.int64(passages[position + 8]))
    if position + 4 < len(passages):
        start = row_ends[passages[position + 4]]
        for line in range(4):
            prefetch(row_terms, start + line * 16)


@njit(cache=True, nogil=True)
def _at_or_after(row: NDArray[np.uint32], term: int) -> int:
    """The first place whose term is not below `term`."""
    if len(row) <= _SHORT:  # counting takes a few wide instructions, and nothing is guessed wrong
        below = np.uint32(0)
        for place in range(len(row)):
            below += np.uint32(row[place] < term)
        return np.int64(below)
    start, stop = 0, len(row)
    while start < stop:
        middle = (start + stop) >> 1
        if row[middle] < term:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(cache=True, nogil=True)
def _weight(values: NDArray[Any], place: int) -> float:
    if values.itemsize == 2:
        return np.float64(float_of((np.uint32(values[place]) << np.uint32(13)) + np.uint32(_HALF_BIAS)))
    return np.float64(values[place])
