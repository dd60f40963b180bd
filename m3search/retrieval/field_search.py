"""Field search: one compiled call from a query's terms to the exact best passages of all segments.

Imports numba and its neighbours. Owns what goes from segment to segment: the threshold, and the best so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.retrieval.addresses import WIDTH, base_of, bitmap_at, passages_of, postings_at, rows_at, scratch_at
from m3search.retrieval.compiling import borrowing, compiled
from m3search.retrieval.forward import Saturation, score_frequencies, score_weights
from m3search.retrieval.intrinsics import prefetch
from m3search.retrieval.segment_search import Request, search_segment
from m3search.storage import RANKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import BlockArrays

__all__ = ["WIDTH", "find_tokens", "look_up", "score_passages", "search_field", "weighing"]

_ROUNDING = 1 + 2.0**-40  # of the quotient of two means


@compiled
def search_field(
    segments: NDArray[np.int64],
    tokens: NDArray[np.uint32],
    numbers: NDArray[np.int64],
    weights: NDArray[np.float64],
    bitmaps: NDArray[np.int64],
    changes: NDArray[np.float64],
    depth: int,
    k1: float,
    b: float,
    average: float,
    scratch: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], float, int]:
    """The best passages that score above 0, best first: docids i64[n], scores f64[n].

    Behind them what no other passage exceeds, and how many postings were read.

    Args:
        segments: i64[s, w], rows of `field_addresses`, by ascending base.
        tokens: u32[q], ascending; empty: `numbers` says already where the terms stand.
        numbers: i64[s, q], the terms' numbers in each segment, ascending but for -1, a term that it does not have; not looked
            at where there are tokens.
        weights: f64[q] >= 0, of the terms.
        bitmaps: i64[s], addresses of bitmaps of u64, as `bitmap_at` takes them; 0, or no array: everything is allowed.
        changes: f64[s], what a posting adds now lies between this times what was stored, and what was stored; empty: all 1.
        depth: how many are wanted.
        k1: of BM25, and so are the next two.
        b: see there.
        average: see there.
        scratch: row of `scratch_addresses`.
    """
    docids, scores = np.empty(0, np.int64), np.empty(0)
    read = 0
    if len(weights) == 0:
        return docids, scores, 0.0, read
    room = scratch_at(scratch)
    saturation = Saturation(k1, b, average)
    rank = _rank_of(depth)
    if len(tokens):
        numbers = np.empty((len(segments), len(tokens)), np.int64)
        for position in range(len(segments)):
            look_up(tokens, rows_at(segments[position]).tokens, numbers[position])
    for position in range(len(segments)):
        if position + 1 < len(segments):
            _ask_for(postings_at(segments[position + 1]), numbers[position + 1])
        segment = segments[position]
        passages = passages_of(segment)
        if passages == 0:
            continue
        postings, rows = postings_at(segment), rows_at(segment)
        least = scores[depth - 1] if len(scores) == depth else 0.0
        change = changes[position] if len(changes) else 1.0
        bitmap = bitmaps[position] if len(bitmaps) else 0
        growth = 1.0 if change == 1.0 else max(change, 1.0) * _ROUNDING
        request = Request(depth, -1 if bitmap else rank, least, growth, min(change, 1.0))
        allowed = bitmap_at(bitmap, passages)
        count, some = search_segment(numbers[position], weights, postings, rows, allowed, request, saturation, room)
        read += some
        if count:
            docids, scores = _merged(docids, scores, room.found[:count], room.exact[:count], base_of(segment), depth)
    bound = scores[depth - 1] if len(scores) == depth else 0.0
    return docids, scores, bound, read


@borrowing
def _rank_of(depth: int) -> int:
    """The column of `ranked` whose rank is at least `depth`; -1: there is none."""
    for column in range(len(RANKS)):
        if depth <= RANKS[column]:
            return column
    return -1


@borrowing
def _ask_for(postings: BlockArrays, numbers: NDArray[np.int64]) -> None:
    """Asks for what is read first of the terms of the segment that comes next."""
    for term in range(len(numbers)):
        number = numbers[term]
        if 0 <= number < len(postings.scales):
            prefetch(postings.scales, number)
            prefetch(postings.ranked[number], 0)
            prefetch(postings.rare_ends, number)


@compiled
def score_passages(
    segment: NDArray[np.int64],
    passages: NDArray[np.uint32],
    numbers: NDArray[np.int64],
    weights: NDArray[np.float64],
    k1: float,
    b: float,
    average: float,
) -> NDArray[np.float64]:
    """Exact scores f64[n] of passages of one segment.

    Args:
        segment: row of `field_addresses`.
        passages: u32[n].
        numbers: i64[q], ascending but for -1.
        weights: f64[q] >= 0.
        k1: of BM25, and so are the next two.
        b: see there.
        average: see there.
    """
    known, known_weights = weighing(numbers, weights)
    rows = rows_at(segment)
    scores = np.empty(len(passages))
    if len(rows.lengths):
        score_frequencies(passages, known, known_weights, rows, Saturation(k1, b, average), scores)
    else:
        score_weights(passages, known, known_weights, rows, scores)
    return scores


@compiled
def weighing(
    numbers: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """The terms, u32[n] and f64[n], that a segment has and that weigh anything."""
    known, known_weights, count = np.empty(len(numbers), np.uint32), np.empty(len(numbers)), 0
    for term in range(len(numbers)):
        if numbers[term] >= 0 and weights[term] > 0:
            known[count], known_weights[count] = numbers[term], weights[term]
            count += 1
    return known[:count], known_weights[:count]


@compiled
def find_tokens(segment: NDArray[np.int64], tokens: NDArray[np.uint32], numbers: NDArray[np.int64]) -> None:
    """Fills in the tokens' numbers in one segment, -1 of one that it does not have."""
    look_up(tokens, rows_at(segment).tokens, numbers)


@borrowing
def look_up(tokens: NDArray[np.uint32], known: NDArray[np.uint32], numbers: NDArray[np.int64]) -> None:
    """Writes i64[q] where tokens stand among the known ones, both ascending; -1 of one that does not.

    A token is looked for from the place on where it would stand if the known ones were spread evenly, in growing steps.
    """
    count = len(known)
    for position in range(len(tokens)):
        token = tokens[position]
        if count == 0 or token > known[count - 1]:
            numbers[position] = -1
            continue
        guess = min(np.int64(token) * count // (np.int64(known[count - 1]) + 1), count - 1)
        start, stop, step = guess, guess, 1
        while start > 0 and known[start] > token:
            stop, start, step = start, max(start - step, 0), 2 * step
        while stop < count - 1 and known[stop] < token:
            start, stop, step = stop, min(stop + step, count - 1), 2 * step
        while start < stop:
            middle = (start + stop) >> 1
            if known[middle] < token:
                start = middle + 1
            else:
                stop = middle
        numbers[position] = start if known[start] == token else -1


@compiled
def _merged(
    docids: NDArray[np.int64],
    scores: NDArray[np.float64],
    found: NDArray[np.uint32],
    exact: NDArray[np.float64],
    base: int,
    depth: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The best of two lists in order (-score, docid), the second of higher docids."""
    count = min(len(docids) + len(found), depth)
    merged_docids, merged_scores = np.empty(count, np.int64), np.empty(count)
    one, other = 0, 0
    for place in range(count):
        if other == len(found) or (one < len(docids) and scores[one] >= exact[other]):
            merged_docids[place], merged_scores[place] = docids[one], scores[one]
            one += 1
        else:
            merged_docids[place], merged_scores[place] = base + np.int64(found[other]), exact[other]
            other += 1
    return merged_docids, merged_scores
