"""Forward scores: compiled loops from passages to their exact scores, out of the forward store.

Imports numba. The one arithmetic behind every lexical and BM25 score that is ever shown: float64, a query's terms in ascending
order, whatever passages are asked for together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.retrieval.compiling import borrowing, compiled, inlined
from m3search.retrieval.intrinsics import float_of, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.addresses import Rows

_FETCHED = 160  # terms
_ENDS_AHEAD, _ROWS_AHEAD = 16, 8  # passages
_HALF_BIAS = 112 << 23
"""Between the exponents of f16 and f32."""


class Saturation(NamedTuple):
    """BM25's arithmetic at a time.

    Attributes:
        k1: saturation of the term frequency.
        b: how much the length counts, 0 to 1.
        average: mean number of terms in a live passage, above 0.
    """

    k1: float = 0.0
    b: float = 0.0
    average: float = 1.0


@compiled
def score_weights(
    passages: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float64],
    rows: Rows,
    scores: NDArray[np.float64],
) -> None:
    """Sums of query weight times stored weight.

    Args:
        passages: u32[n], in the segment.
        numbers: u32[q], the query's term numbers in the segment, ascending.
        weights: f64[q].
        rows: of the segment.
        scores: f64[n], is filled.
    """
    _sum_weights(passages, numbers, weights, rows, np.empty(len(numbers), np.int64), scores)


@borrowing
def _sum_weights(
    passages: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float64],
    rows: Rows,
    places: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    _fetch_first(passages, rows)
    for position in range(len(passages)):
        _fetch_ahead(passages, position, rows)
        start, stop = rows.ends[passages[position]], rows.ends[passages[position] + 1]
        row = rows.terms[start:stop]
        total = 0.0
        if len(row):
            _find(numbers, row, places)
            for term in range(len(numbers)):
                place = places[term]
                weight = _weight(rows, start + place) if row[place] == numbers[term] else 0.0
                total += weights[term] * weight  # to add 0 changes no bit
        scores[position] = total


@compiled
def score_frequencies(
    passages: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float64],
    rows: Rows,
    saturation: Saturation,
    scores: NDArray[np.float64],
) -> None:
    """Sums of query weight times saturated term frequency.

    Args:
        passages: u32[n], in the segment.
        numbers: u32[q], the query's term numbers in the segment, ascending.
        weights: f64[q].
        rows: of the segment.
        saturation: of BM25.
        scores: f64[n], is filled.
    """
    _sum_frequencies(passages, numbers, weights, rows, saturation, np.empty(len(numbers), np.int64), scores)


@borrowing
def _sum_frequencies(
    passages: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float64],
    rows: Rows,
    saturation: Saturation,
    places: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    k1, b, average = saturation
    _fetch_first(passages, rows)
    for position in range(len(passages)):
        _fetch_ahead(passages, position, rows)
        passage = passages[position]
        start, stop = rows.ends[passage], rows.ends[passage + 1]
        row = rows.terms[start:stop]
        norm = k1 * (1 - b + b * (np.float64(rows.lengths[passage]) / average))
        total = 0.0
        if len(row):
            _find(numbers, row, places)
            for term in range(len(numbers)):
                if row[places[term]] == numbers[term]:
                    frequency = _frequency(rows, start + places[term])
                    total += weights[term] * (frequency / (frequency + norm))
        scores[position] = total


@inlined
def _fetch_first(passages: NDArray[np.uint32], rows: Rows) -> None:
    """Asks for what `_fetch_ahead` comes too late for."""
    for position in range(min(_ENDS_AHEAD, len(passages))):
        prefetch(rows.ends, np.int64(passages[position]))
    for position in range(min(_ROWS_AHEAD, len(passages))):
        _fetch_row(np.int64(passages[position]), rows)


@inlined
def _fetch_ahead(passages: NDArray[np.uint32], position: int, rows: Rows) -> None:
    if position + _ENDS_AHEAD < len(passages):
        prefetch(rows.ends, np.int64(passages[position + _ENDS_AHEAD]))
    if position + _ROWS_AHEAD < len(passages):
        _fetch_row(np.int64(passages[position + _ROWS_AHEAD]), rows)


@inlined
def _fetch_row(passage: int, rows: Rows) -> None:
    start, stop = rows.ends[passage], min(rows.ends[passage + 1], rows.ends[passage] + _FETCHED)
    for place in range(start, stop, 16):  # a cache line of term numbers, half a line or a whole one of values
        prefetch(rows.terms, place)
        if len(rows.halves):
            prefetch(rows.halves, place)
        else:
            prefetch(rows.words, place)
    if len(rows.lengths):
        prefetch(rows.lengths, passage)


@inlined
def _find(numbers: NDArray[np.uint32], row: NDArray[np.uint32], places: NDArray[np.int64]) -> None:
    """Writes where in a row, which is not empty, each term stands: the last place whose term is not above it, or the first.

    All terms go on by halves together, and no branch depends on what was read: none waits for another, or is guessed wrong.
    """
    for term in range(len(numbers)):
        places[term] = 0
    count = len(row)
    while count > 1:
        half = count >> 1
        for term in range(len(numbers)):
            ahead = places[term] + half
            places[term] = ahead if row[ahead] <= numbers[term] else places[term]
        count -= half


@inlined
def _weight(rows: Rows, place: int) -> float:
    if len(rows.halves):
        return np.float64(float_of((np.uint32(rows.halves[place]) << np.uint32(13)) + np.uint32(_HALF_BIAS)))
    return np.float64(float_of(rows.words[place]))


@inlined
def _frequency(rows: Rows, place: int) -> float:
    if len(rows.halves):
        return np.float64(rows.halves[place])
    return np.float64(rows.words[place])
