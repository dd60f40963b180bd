"""Block-max search: a compiled pass over upper bounds, to the few passages of a segment that may be among the best.

Imports numba; `segment_search` calls it. Everything is counted in units of a fixed fraction of the query's largest possible
score, as u32, so that sums are exact and bounds stay bounds. The steps of `search_blocks`:

1. Postings of rare terms are chained block by block, and added up per block: few blocks have two.
2. A block's bound is that sum, plus what its maxima of the frequent terms can add.
3. Blocks whose bound can still matter are taken by falling bound, and scored: the k-th best so far, read off a
   histogram, raises the threshold until no block is left above it.
4. What is at most a rounding below the threshold is left, for its exact score to be looked up.

Invariant: damaged postings may give wrong scores, but nothing outside an array is read or written.

Sources: Ding and Suel, Faster Top-k Document Retrieval Using Block-Max Indexes (2011); Mallia, Suel and Tonellotto, Faster
Learned Sparse Retrieval with Block-Max Pruning (2024), for blocks taken by falling bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.retrieval.compiling import borrowing, inlined
from m3search.retrieval.intrinsics import lowest_bit, prefetch
from m3search.retrieval.scratch import BINS, BUCKETS, TOGETHER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.scratch import Scratch
    from m3search.storage import BlockArrays

_MOST_RARE = np.uint64(2**31)  # no passage has more; and with any bound of frequent terms it stays within a u32
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_FEW_BLOCKS = 1024  # of so few, an eighth (2 ** _FEWER) of the buckets and bins tells enough, and is emptied sooner
_FEWER = 3
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


class QueryTerms(NamedTuple):
    """A query's terms that a segment has, by how it stores them; of each, the units of an impact of 1 as u32.

    Attributes:
        starts: i64, first posting of each rare term.
        stops: i64, one past the last.
        rare_units: u32.
        rows: i64, of the frequent terms in `block_max`.
        places: i64, as in `BlockArrays`.
        units: u32, of the frequent terms.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    rare_units: NDArray[np.uint32]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    units: NDArray[np.uint32]


class Chains(NamedTuple):
    """Room for the rare postings of a query, p of them in b blocks; what it holds before does not matter.

    Attributes:
        blocks: u64[b]; upper half: what the block's postings add up to, or 2^31 where that is less; lower half: the last of
            them, 0 where it has none.
        postings: u64[p + 1], from 1 on; upper half: units; lower half: the posting of the block before it, 0: there is none.
        places: u8[p + 1], its passage in the block.
    """

    blocks: NDArray[np.uint64]
    postings: NDArray[np.uint64]
    places: NDArray[np.uint8]


class Wanted(NamedTuple):
    """What of a segment is wanted.

    Attributes:
        depth: how many passages.
        floor: units below which nothing is wanted, at least 1: what matches has 1 at least.
        reached: units that `depth` allowed passages are known to have as upper bounds; 0 where none are.
        error: units that an upper bound may be above the true score, after `keep`.
        keep: a true score is at least this part of its upper bound, but for `error`.
    """

    depth: int
    floor: int
    reached: int
    error: int
    keep: float


@borrowing
def search_blocks(
    terms: QueryTerms,
    postings: BlockArrays,
    allowed: NDArray[np.uint64],
    passages: int,
    wanted: Wanted,
    chains: Chains,
    scratch: Scratch,
) -> tuple[int, int]:
    """Passages whose upper bound of a score may belong to the best: how many, and the postings that were read.

    Args:
        terms: of the query.
        postings: of the segment.
        allowed: u64[b], bit i for passage i of the block; empty: all.
        passages: how many the segment has.
        wanted: how many and from where on.
        chains: for the rare postings of `terms`.
        scratch: `found` is filled with the passages, `uppers` with their bounds.
    """
    blocks = postings.block_max.shape[1]
    order, found, uppers = scratch.order, scratch.found, scratch.uppers
    depth = wanted.depth
    read = _chain_rare(terms, postings.rare, chains)
    threshold = max(_lowered(wanted.reached, wanted), wanted.floor)
    bounds = scratch.bounds[:blocks]
    count, highest = _bound_blocks(terms, postings, chains.blocks, bounds, threshold, scratch.listed)
    fewer = _FEWER if blocks <= _FEW_BLOCKS else 0
    ends = scratch.bucket_ends[: (BUCKETS >> fewer) + 1]
    bucket_shift = _shift(highest, len(ends) - 1)
    _order_blocks(bounds, scratch.listed[:count], bucket_shift, ends, order)

    histogram, block_sums = scratch.histogram[: BINS >> fewer], scratch.block_sums
    bin_shift = _shift(highest, len(histogram))
    histogram[:] = 0
    current, above, kept = 0, 0, 0
    for position in range(count):
        block = np.int64(order[position])
        if (np.int64(bounds[block]) >> bucket_shift) < (threshold >> bucket_shift):
            break  # all that follow stand in lower buckets
        turn = position % TOGETHER
        if turn == 0:
            _fetch(terms, postings, chains, scratch, position, count)
        if bounds[block] < threshold:
            continue
        read += _score_block(terms, postings, chains, scratch, block, turn, block_sums)
        matching = _at_least(block_sums, threshold) & _searched(block, allowed, passages)
        if matching == 0:
            continue
        while matching:
            place = lowest_bit(matching)
            matching &= matching - np.uint64(1)
            total = block_sums[place & 63]
            found[kept], uppers[kept] = np.uint32(block * 64 + place), total
            kept += 1
            number = min(np.int64(total) >> bin_shift, len(histogram) - 1)
            histogram[number] += 1
            above += number >= current
        while above - histogram[current] >= depth:
            above -= histogram[current]
            current += 1
        threshold = max(threshold, _lowered(current << bin_shift, wanted))

    count = 0
    for position in range(kept):
        if uppers[position] >= threshold:
            found[count], uppers[count] = found[position], uppers[position]
            count += 1
    return count, read


@borrowing
def _chain_rare(terms: QueryTerms, rare: NDArray[np.uint32], chains: Chains) -> int:
    """Chains the rare terms' postings by block, and adds up each block's: how many there are.

    Sums by passage would be closer bounds, and a cache miss a posting: these writes follow each other, or lie within a few
    bytes a block.
    """
    blocks = chains.blocks
    blocks[:] = 0
    last = np.uint32(len(blocks) * 64 - 1)
    count = 0
    for term in range(len(terms.starts)):
        units, those = terms.rare_units[term], rare[terms.starts[term] : terms.stops[term]]
        for place in range(len(those)):
            passage = min(those[place] >> np.uint32(10), last)
            value = np.uint64(units * (those[place] & np.uint32(1023)))
            before = blocks[passage >> np.uint32(6)]
            count += 1
            chains.postings[count] = value << _HALF | (before & _LOW)
            chains.places[count] = passage & np.uint32(63)
            blocks[passage >> np.uint32(6)] = min((before >> _HALF) + value, _MOST_RARE) << _HALF | np.uint64(count)
    return count


@borrowing
def _bound_blocks(
    terms: QueryTerms,
    postings: BlockArrays,
    chained: NDArray[np.uint64],
    bounds: NDArray[np.uint32],
    threshold: int,
    listed: NDArray[np.int32],
) -> tuple[int, int]:
    """Fills in what each block's passages have at most, and lists the blocks from `threshold` on: how many, the largest bound.

    Some hundred blocks at a time, so that their bounds stay in the nearest cache.
    """
    count = 0
    least = np.uint32(min(threshold, 0xFFFFFFFF))
    for first in range(0, len(bounds), 512):
        some = bounds[first : first + 512]
        sums = chained[first : first + len(some)]
        for block in range(len(some)):
            some[block] = np.uint32(sums[block] >> _HALF)
        for term in range(len(terms.rows)):
            units = terms.units[term] * np.uint32(4)
            maxima = postings.block_max[terms.rows[term], first : first + len(some)]
            for block in range(len(some)):
                some[block] += units * np.uint32(maxima[block])
        for start in range(0, len(some), 32):
            few = some[start : start + 32]
            matters = False
            for block in range(len(few)):
                matters |= few[block] >= least
            if matters:
                for block in range(len(few)):
                    listed[count] = first + start + block
                    count += few[block] >= least
    highest = np.uint32(0)
    for position in range(count):
        highest = max(highest, bounds[listed[position]])
    return count, np.int64(highest)


@borrowing
def _order_blocks(
    bounds: NDArray[np.uint32],
    listed: NDArray[np.int32],
    shift: int,
    ends: NDArray[np.int32],
    order: NDArray[np.int32],
) -> None:
    """Orders blocks by falling bucket of their bound."""
    buckets = len(ends) - 1
    ends[:] = 0
    for position in range(len(listed)):
        ends[buckets - (np.int64(bounds[listed[position]]) >> shift)] += 1
    for bucket in range(buckets):
        ends[bucket + 1] += ends[bucket]
    for position in range(len(listed)):
        block = listed[position]
        bucket = buckets - 1 - (np.int64(bounds[block]) >> shift)
        order[ends[bucket]] = block
        ends[bucket] += 1


@inlined
def _fetch(
    terms: QueryTerms, postings: BlockArrays, chains: Chains, scratch: Scratch, position: int, count: int
) -> None:
    """Asks for the postings of the next blocks in order, and where those after them lie."""
    order = scratch.order
    if position == 0:
        _fetch_counts(terms, postings, order[: min(count, TOGETHER)])
    _fetch_postings(terms, postings, chains, scratch, order[position : min(count, position + TOGETHER)])
    if position + TOGETHER < count:
        _fetch_counts(terms, postings, order[position + TOGETHER : min(count, position + 2 * TOGETHER)])


@inlined
def _fetch_counts(terms: QueryTerms, postings: BlockArrays, blocks: NDArray[np.int32]) -> None:
    for position in range(len(blocks)):
        block = np.int64(blocks[position])
        for term in range(len(terms.places)):
            if terms.places[term] >= 0:
                prefetch(postings.counts[terms.places[term]], block)
                prefetch(postings.group_starts[terms.places[term]], block >> 5)


@inlined
def _fetch_postings(
    terms: QueryTerms,
    postings: BlockArrays,
    chains: Chains,
    scratch: Scratch,
    blocks: NDArray[np.int32],
) -> None:
    """Finds out where the blocks' postings lie, and asks for them."""
    for position in range(len(blocks)):
        block = np.int64(blocks[position])
        last = np.int64(chains.blocks[block] & _LOW)
        prefetch(chains.postings, last)
        prefetch(chains.places, last)
        for term in range(len(terms.places)):
            place = terms.places[term]
            if place < 0:
                prefetch(postings.columns[-1 - place], block * 64)
                continue
            counts = postings.counts[place]
            start = np.int64(postings.group_starts[place, block >> 5])
            before = counts[block - (block & 31) : block]
            for other in range(len(before)):
                start += before[other]
            stop = min(start + np.int64(counts[block]), len(postings.local))
            scratch.starts[position, term], scratch.stops[position, term] = min(start, stop), stop
            if stop > start:
                prefetch(postings.local, start)
                prefetch(postings.local, stop - 1)


@inlined
def _score_block(
    terms: QueryTerms,
    postings: BlockArrays,
    chains: Chains,
    scratch: Scratch,
    block: int,
    turn: int,
    block_sums: NDArray[np.uint32],
) -> int:
    """Fills in the upper bounds of a block's 64 passages: how many postings of frequent terms were read."""
    for place in range(64):
        block_sums[place] = 0
    rare = chains.blocks[block] & _LOW
    while rare:
        posting = chains.postings[rare]
        block_sums[chains.places[rare] & np.uint8(63)] += np.uint32(posting >> _HALF)
        rare = posting & _LOW
    read = 0
    for term in range(len(terms.rows)):
        units = terms.units[term]
        if terms.places[term] < 0:
            column = postings.columns[-1 - terms.places[term], block * 64 : block * 64 + 64]
            units *= np.uint32(4)
            for place in range(64):
                block_sums[place] += units * np.uint32(column[place])
            read += 64
            continue
        those = postings.local[scratch.starts[turn, term] : scratch.stops[turn, term]]
        read += len(those)
        for place in range(len(those)):
            block_sums[those[place] & np.uint16(63)] += units * np.uint32(those[place] >> np.uint16(6))
    return read


@inlined
def _at_least(block_sums: NDArray[np.uint32], threshold: int) -> int:
    """Bit i is set where passage i of the block reaches the threshold."""
    least = np.uint32(min(threshold, 0xFFFFFFFF))
    bits = np.uint64(0)
    for place in range(64):
        bits |= np.uint64(block_sums[place] >= least) << np.uint64(place)
    return bits


@inlined
def _searched(block: int, allowed: NDArray[np.uint64], passages: int) -> int:
    """Bit i is set where passage i of the block is there and allowed."""
    bits = _ALL
    if len(allowed):
        bits = allowed[block]
    if passages < block * 64 + 64:
        bits &= ~(_ALL << np.uint64(passages - block * 64))
    return bits


@borrowing
def _shift(highest: int, count: int) -> int:
    """By how many bits a value up to `highest` is shifted to lie below `count`."""
    shift = 0
    while (highest >> shift) >= count:
        shift += 1
    return shift


@borrowing
def _lowered(upper: int, wanted: Wanted) -> int:
    """The true score in units that an upper bound vouches for, not rounded up."""
    error = wanted.error
    return max(np.int64(np.floor((upper - error) * wanted.keep)), 0) if upper > error else 0
