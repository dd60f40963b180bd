"""Forward scores: compiled loops from passages to their exact scores, out of the forward store.

Imports numba. The one arithmetic behind every lexical and BM25 score that is ever shown: float64, a query's terms in ascending
order, whatever passages are asked for together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.retrieval.compiling import borrowing, inlined
from m3search.retrieval.intrinsics import float_of, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.addresses import Rows

_SHORT = 160
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


@borrowing
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
    _fetch_first(passages, rows)
    for position in range(len(passages)):
        _fetch_ahead(passages, position, rows)
        start, stop = rows.ends[passages[position]], rows.ends[passages[position] + 1]
        row = rows.terms[start:stop]
        total = 0.0
        for term in range(len(numbers)):
            place = _at_or_after(row, numbers[term])
            if place < len(row) and row[place] == numbers[term]:
                total += weights[term] * _weight(rows, start + place)
        scores[position] = total


@borrowing
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
    k1, b, average = saturation
    _fetch_first(passages, rows)
    for position in range(len(passages)):
        _fetch_ahead(passages, position, rows)
        passage = passages[position]
        start, stop = rows.ends[passage], rows.ends[passage + 1]
        row = rows.terms[start:stop]
        norm = k1 * (1 - b + b * (np.float64(rows.lengths[passage]) / average))
        total = 0.0
        for term in range(len(numbers)):
            place = _at_or_after(row, numbers[term])
            if place < len(row) and row[place] == numbers[term]:
                frequency = _frequency(rows, start + place)
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
    start, stop = rows.ends[passage], min(rows.ends[passage + 1], rows.ends[passage] + _SHORT)
    for place in range(start, stop, 16):  # a cache line of term numbers, half a line or a whole one of values
        prefetch(rows.terms, place)
        if len(rows.halves):
            prefetch(rows.halves, place)
        else:
            prefetch(rows.words, place)
    if len(rows.lengths):
        prefetch(rows.lengths, passage)


@inlined
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
