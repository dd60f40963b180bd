"""Block-max search: a compiled pass over upper bounds, to the few passages of a segment that may be among the best.

Imports numba; `segment_search` calls it. Everything is counted in units of a fixed fraction of the query's largest possible
score, as u32, so that sums are exact and bounds stay bounds. The steps of `search_blocks`:

1. Postings of rare terms are added up passage by passage, and per block their largest sum.
2. A block's bound is that, plus what its maxima of the frequent terms can add.
3. Blocks whose bound can still matter are taken by falling bound, and scored: the k-th best so far, read off a
   histogram, raises the threshold until no block is left above it.
4. What is at most a rounding below the threshold is left, for its exact score to be looked up.

Invariant: damaged postings may give wrong scores, but nothing outside an array is read or written.

Sources: Ding and Suel, Faster Top-k Document Retrieval Using Block-Max Indexes (2011); Mallia, Suel and Tonellotto, Faster
Learned Sparse Retrieval with Block-Max Pruning (2024), for blocks taken by falling bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from m3search.retrieval.intrinsics import prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BUCKETS = 1024
_BINS = 4096
_AHEAD = 16


@njit(cache=True, nogil=True)
def search_blocks(
    rare_starts: NDArray[np.int64],
    rare_stops: NDArray[np.int64],
    rare_factors: NDArray[np.uint32],
    rows: NDArray[np.int64],
    row_factors: NDArray[np.uint32],
    rare: NDArray[np.uint32],
    block_max: NDArray[np.uint8],
    block_starts: NDArray[np.uint16],
    group_starts: NDArray[np.int64],
    local: NDArray[np.uint16],
    allowed: NDArray[np.uint64],
    passages: int,
    depth: int,
    floor: int,
    reached: int,
    error: int,
    keep: float,
    sums: NDArray[np.uint32],
    partials: NDArray[np.uint32],
    bounds: NDArray[np.uint32],
    order: NDArray[np.int32],
    found: NDArray[np.uint32],
    scores: NDArray[np.uint32],
) -> tuple[int, int]:
    """Passages whose upper bound of a score may belong to the best `depth`: how many, and the postings that were read.

    Args:
        rare_starts: i64[q], first posting of each rare query term in `rare`.
        rare_stops: i64[q], one past the last.
        rare_factors: u32[q], units of an impact of 1.
        rows: i64[w], rows of the frequent query terms.
        row_factors: u32[w], units of an impact of 1.
        rare: as in `block_postings`, and so are the next four.
        block_max: see there.
        block_starts: see there.
        group_starts: see there.
        local: see there.
        allowed: u64[b], bit i for passage i of the block; empty: all.
        passages: how many the segment has.
        depth: how many are wanted.
        floor: units below which nothing is wanted, at least 1: what matches has 1 at least.
        reached: units that `depth` allowed passages are known to have as upper bounds; 0 where none are.
        error: units that an upper bound may be above the true score, after `keep`.
        keep: a true score is at least this part of its upper bound, but for `error`.
        sums: u32[64 b] of zeros, left as zeros.
        partials: u32[b] of zeros, left as zeros.
        bounds: u32[b], scratch.
        order: i32[b], scratch.
        found: u32[64 b + 1]: is filled with passages.
        scores: u32[64 b + 1]: is filled with their upper bounds.
    """
    postings = _add_rare(rare_starts, rare_stops, rare_factors, rare, sums, partials)
    highest = _bound_blocks(rows, row_factors, block_max, partials, bounds)
    threshold = max(_lowered(reached, error, keep), floor)
    bucket_shift = _shift(highest, _BUCKETS)
    listed = _order_blocks(bounds, threshold, bucket_shift, order)

    bin_shift = _shift(highest, _BINS)
    histogram = np.zeros(_BINS, np.int32)
    current, above, count = 0, 0, 0
    block_sums = np.empty(64, np.uint32)
    for position in range(listed):
        block = np.int64(order[position])
        if bounds[block] < threshold:
            if (np.int64(bounds[block]) >> bucket_shift) < (threshold >> bucket_shift):
                break  # all that follow stand in lower buckets
            continue
        _fetch_ahead(order, position, listed, rows, sums, block_max, block_starts, group_starts, local)
        postings += _score_block(
            block, rows, row_factors, sums, block_max, block_starts, group_starts, local, block_sums
        )
        best = np.uint32(0)
        for place in range(64):
            best = max(best, block_sums[place])
        if best < threshold:
            continue
        bits = allowed[block] if len(allowed) else np.uint64(0xFFFFFFFFFFFFFFFF)
        for place in range(64):
            total = block_sums[place]
            found[count] = np.uint32(block * 64 + place)
            scores[count] = total
            if total >= threshold and place < passages - block * 64 and (bits >> np.uint64(place)) & np.uint64(1):
                count += 1
                number = min(np.int64(total) >> bin_shift, _BINS - 1)
                histogram[number] += 1
                above += number >= current
        while above - histogram[current] >= depth:
            above -= histogram[current]
            current += 1
        threshold = max(threshold, _lowered(current << bin_shift, error, keep))

    _clear(rare_starts, rare_stops, rare, sums, partials)
    kept = 0
    for position in range(count):
        if scores[position] >= threshold:
            found[kept], scores[kept] = found[position], scores[position]
            kept += 1
    return kept, postings


@njit(cache=True, nogil=True)
def _add_rare(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    factors: NDArray[np.uint32],
    rare: NDArray[np.uint32],
    sums: NDArray[np.uint32],
    partials: NDArray[np.uint32],
) -> int:
    """Adds up the rare terms by passage and keeps each block's largest sum: how many postings they have."""
    postings = 0
    last = np.uint32(len(sums) - 1)
    for term in range(len(starts)):
        factor, those = factors[term], rare[starts[term] : stops[term]]
        postings += len(those)
        for place in range(len(those)):
            if place + _AHEAD < len(those):
                prefetch(sums, np.int64(those[place + _AHEAD] >> np.uint32(10)))
            posting = those[place]
            passage = min(posting >> np.uint32(10), last)
            total = sums[passage] + factor * (posting & np.uint32(1023))
            sums[passage] = total
            block = passage >> np.uint32(6)
            partials[block] = max(partials[block], total)
    return postings


@njit(cache=True, nogil=True)
def _clear(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    rare: NDArray[np.uint32],
    sums: NDArray[np.uint32],
    partials: NDArray[np.uint32],
) -> None:
    """Takes back what `_add_rare` did."""
    last = np.uint32(len(sums) - 1)
    for term in range(len(starts)):
        those = rare[starts[term] : stops[term]]
        for place in range(len(those)):
            passage = min(those[place] >> np.uint32(10), last)
            sums[passage] = 0
            partials[passage >> np.uint32(6)] = 0


@njit(cache=True, nogil=True)
def _fetch_ahead(
    order: NDArray[np.int32],
    position: int,
    listed: int,
    rows: NDArray[np.int64],
    sums: NDArray[np.uint32],
    block_max: NDArray[np.uint8],
    block_starts: NDArray[np.uint16],
    group_starts: NDArray[np.int64],
    local: NDArray[np.uint16],
) -> None:
    if position + 4 < listed:
        later = np.int64(order[position + 4])
        for term in range(len(rows)):
            prefetch(block_starts[rows[term]], later)
            prefetch(block_max[rows[term]], later)
        for line in range(4):
            prefetch(sums, later * 64 + line * 16)
    if position + 2 < listed:
        later = np.int64(order[position + 2])
        for term in range(len(rows)):
            row = rows[term]
            prefetch(local, group_starts[row, later >> 10] + np.int64(block_starts[row, later]))


@njit(cache=True, nogil=True)
def _score_block(
    block: int,
    rows: NDArray[np.int64],
    factors: NDArray[np.uint32],
    sums: NDArray[np.uint32],
    block_max: NDArray[np.uint8],
    block_starts: NDArray[np.uint16],
    group_starts: NDArray[np.int64],
    local: NDArray[np.uint16],
    block_sums: NDArray[np.uint32],
) -> int:
    """Fills in the upper bounds of a block's 64 passages: how many postings of frequent terms it has."""
    postings = 0
    for place in range(64):
        block_sums[place] = sums[block * 64 + place]
    for term in range(len(rows)):
        row = rows[term]
        if block_max[row, block] == 0:
            continue
        factor = factors[term]
        start = group_starts[row, block >> 10] + np.int64(block_starts[row, block])
        stop = group_starts[row, (block + 1) >> 10] + np.int64(block_starts[row, block + 1])
        those = local[max(start, 0) : max(min(stop, len(local)), 0)]
        postings += len(those)
        for place in range(len(those)):
            posting = those[place]
            block_sums[posting & np.uint16(63)] += factor * np.uint32(posting >> np.uint16(6))
    return postings


@njit(cache=True, nogil=True)
def _shift(highest: int, count: int) -> int:
    """By how many bits a value up to `highest` is shifted to lie below `count`."""
    shift = 0
    while (highest >> shift) >= count:
        shift += 1
    return shift


@njit(cache=True, nogil=True)
def _lowered(upper: int, error: int, keep: float) -> int:
    """The true score in units that an upper bound vouches for, not rounded up."""
    return max(np.int64(np.floor((upper - error) * keep)), 0) if upper > error else 0


@njit(cache=True, nogil=True)
def _bound_blocks(
    rows: NDArray[np.int64],
    factors: NDArray[np.uint32],
    block_max: NDArray[np.uint8],
    partials: NDArray[np.uint32],
    bounds: NDArray[np.uint32],
) -> int:
    """Fills in what each block's passages have at most, and returns the largest."""
    bounds[:] = partials
    for term in range(len(rows)):
        factor = factors[term] * np.uint32(4)
        maxima = block_max[rows[term]]
        for block in range(len(bounds)):
            bounds[block] += factor * np.uint32(maxima[block])
    highest = np.uint32(0)
    for block in range(len(bounds)):
        highest = max(highest, bounds[block])
    return np.int64(highest)


@njit(cache=True, nogil=True)
def _order_blocks(bounds: NDArray[np.uint32], threshold: int, shift: int, order: NDArray[np.int32]) -> int:
    """Lists the blocks from `threshold` on by falling bucket of their bound: how many."""
    starts = np.zeros(_BUCKETS + 1, np.int32)
    blocks = len(bounds)
    for listing in range(2):
        for first in range(0, blocks, 32):
            last = min(first + 32, blocks)
            highest = np.uint32(0)
            for block in range(first, last):
                highest = max(highest, bounds[block])
            if highest < threshold:
                continue
            for block in range(first, last):
                if bounds[block] >= threshold:
                    bucket = _BUCKETS - 1 - (np.int64(bounds[block]) >> shift)
                    if listing:
                        order[starts[bucket]] = block
                        starts[bucket] += 1
                    else:
                        starts[bucket + 1] += 1
        if not listing:
            for bucket in range(_BUCKETS):
                starts[bucket + 1] += starts[bucket]
    return np.int64(starts[_BUCKETS - 1])
