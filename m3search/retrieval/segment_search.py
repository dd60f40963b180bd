"""Segment search: from a query's terms to the exact best passages of a segment, compiled.

Imports numba, its neighbours and storage's layout. Owns what surrounds `block_max`: weights become whole units, candidates
get their exact scores, and the best are put in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.retrieval.best_first import best_first
from m3search.retrieval.block_max import Chains, QueryTerms, Wanted, search_blocks
from m3search.retrieval.compiling import borrowing, compiled
from m3search.retrieval.forward import score_frequencies, score_weights
from m3search.storage import LARGEST_IMPACT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.addresses import Rows
    from m3search.retrieval.forward import Saturation
    from m3search.retrieval.scratch import Scratch
    from m3search.storage import BlockArrays

_UNITS = 2.0**30  # of the largest possible score: leaves two bits of a u32 for what rounding up adds
_MOST = 2.0**32 - 1
_SLACK = 1024  # stored worths were rounded up to float32
_COLUMN_ERROR = 4  # impacts: a column holds quarters


class Request(NamedTuple):
    """What is wanted of a segment.

    Attributes:
        depth: how many passages.
        rank: column of `ranked` whose rank is at least `depth`; -1 where what is stored there may be dead or not allowed.
        least: nothing below this score is wanted.
        growth: what postings add now is at most this, at least 1, times what was stored.
        shrinkage: what they add now is at least this, at most 1, times what was stored.
    """

    depth: int
    rank: int
    least: float
    growth: float
    shrinkage: float


@compiled
def search_segment(
    numbers: NDArray[np.int64],
    weights: NDArray[np.float64],
    postings: BlockArrays,
    rows: Rows,
    allowed: NDArray[np.uint64],
    request: Request,
    saturation: Saturation,
    scratch: Scratch,
) -> tuple[int, int]:
    """The best passages of a segment that score above 0, best first: how many, and the postings that were read.

    Args:
        numbers: i64[q], ascending but for -1, a term that the segment does not have.
        weights: f64[q] >= 0, of the query's terms.
        postings: of the segment.
        rows: of the segment; empty lengths stand for weights instead of term frequencies.
        allowed: u64[b], bit i for passage i of the block; empty: all.
        request: how many and from where on.
        saturation: of BM25.
        scratch: `found` is filled with passages, `exact` with their scores.
    """
    most, known = _largest_score(numbers, weights, postings.scales, request.growth)
    if known == 0:
        return 0, 0
    unit = most * LARGEST_IMPACT / _UNITS
    known_weights = np.empty(known)
    starts, stops, block_rows, places = np.empty((4, known), np.int64)  # an array of its own for each takes longer
    known_numbers, rare_units, units = np.empty((3, known), np.uint32)
    known = rares = frequents = 0
    error, reached = np.int64(_SLACK), np.int64(0)
    for term in range(len(numbers)):
        number = numbers[term]
        if number < 0 or not weights[term] > 0:
            continue
        known_numbers[known], known_weights[known] = number, weights[term]
        known += 1
        gain = weights[term] * np.float64(postings.scales[number]) * request.growth
        factor = np.uint32(min(max(np.ceil(gain / unit * (1 + 2.0**-40)), 1.0), _UNITS))
        if request.rank >= 0:
            reached = max(reached, np.int64(factor) * np.int64(postings.ranked[number, request.rank]))
        row = np.searchsorted(postings.frequent, np.uint32(number))
        rounded = 1
        if row < len(postings.frequent) and postings.frequent[row] == number:
            block_rows[frequents], places[frequents], units[frequents] = row, postings.places[row], factor
            if postings.places[row] < 0:
                rounded = _COLUMN_ERROR
            frequents += 1
        else:
            starts[rares], stops[rares] = postings.rare_ends[number], postings.rare_ends[number + 1]
            rare_units[rares] = factor
            rares += 1
        error += rounded * np.int64(factor) + LARGEST_IMPACT + 1
    floor = max(np.int64(min(request.least / unit, _MOST)) - 1, 1)
    terms = QueryTerms(
        starts[:rares], stops[:rares], rare_units[:rares], block_rows[:frequents], places[:frequents], units[:frequents]
    )
    wanted = Wanted(request.depth, floor, reached, error, request.shrinkage / request.growth)
    chains = _chains(terms, postings, scratch)
    count, read = search_blocks(terms, postings, allowed, len(rows.ends) - 1, wanted, chains, scratch)
    found, exact = scratch.found[:count], scratch.exact[:count]
    if len(rows.lengths):
        score_frequencies(found, known_numbers, known_weights, rows, saturation, exact)
    else:
        score_weights(found, known_numbers, known_weights, rows, exact)
    kept = _matching(found, exact, request.least)
    return best_first(found[:kept], exact[:kept], request.depth), read


@compiled
def _chains(terms: QueryTerms, postings: BlockArrays, scratch: Scratch) -> Chains:
    """Room for a query's rare postings: of the scratch, unless there are more of them than that has."""
    blocks, count = postings.block_max.shape[1], 0
    for term in range(len(terms.starts)):
        count += len(postings.rare[terms.starts[term] : terms.stops[term]])
    if count < len(scratch.chained):
        return Chains(scratch.chains[:blocks], scratch.chained, scratch.places)
    return Chains(scratch.chains[:blocks], np.empty(count + 1, np.uint64), np.empty(count + 1, np.uint8))


@borrowing
def _largest_score(
    numbers: NDArray[np.int64], weights: NDArray[np.float64], scales: NDArray[np.float32], growth: float
) -> tuple[float, int]:
    """What no passage exceeds, over 1,020; and how many terms the segment has."""
    most, known = 0.0, 0
    for term in range(len(numbers)):
        if numbers[term] >= 0 and weights[term] > 0:
            most += weights[term] * np.float64(scales[numbers[term]]) * growth
            known += 1
    return most, known


@borrowing
def _matching(found: NDArray[np.uint32], exact: NDArray[np.float64], least: float) -> int:
    """Puts what scores above 0 and at least `least` to the front: how many."""
    kept = 0
    for position in range(len(found)):
        if exact[position] > 0 and exact[position] >= least:
            found[kept], exact[kept] = found[position], exact[position]
            kept += 1
    return kept
