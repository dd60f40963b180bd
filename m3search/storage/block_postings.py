"""Block postings: the inverted store of a field, laid out for one pass over upper bounds.

Owns the layout and both its ends, `block_arrays` and `BlockPostings`; imports the inversion kernels. Invariant: an
impact times its term's scale is never below the weight it stands for, and a block's maximum never below its impacts, so
that every sum of them bounds every true score; exact scores come from the forward store alone.

Passages stand in blocks of 64. Arrays of a field with n passages in b blocks, t terms of which f are frequent (in at
least every 256th passage), and p postings of which r are of rare terms:

    frequencies        u32[t]         passages that hold the term
    scales             f32[t]         the weight of an impact of 1
    ranked             u16[t, 3]      the 10th, 100th and 1000th largest impact; 0 where there are fewer
    rare_ends          i64[t + 1]     rare postings of term i: rare_ends[i] to rare_ends[i + 1]; none of a frequent one
    rare               u32[r]         passage << 10 | impact, ascending
    frequent           u32[f]         numbers of the frequent terms, ascending
    block_max          u8[f, b]       a quarter of the largest impact in the block, rounded up; 0 where there is none
    block_starts       u16[f, b + 1]  where a block's postings begin, counted from its group's
    group_starts       i64[f, g]      where the postings of a group of 1,024 blocks begin in `local`
    local              u16[p - r]     impact << 6 | place in the block, ascending by passage

Impacts are 1 to 1,020: ten bits less what keeps a quarter of them within a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError, StorageError
from m3search.storage.codec import check_ends, ends_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 64
GROUP = 1024
LARGEST_IMPACT = 1020
LARGEST_SEGMENT = 2**22
"""Passages that a rare posting can number in 22 bits."""
RANKS = (10, 100, 1000)

_FREQUENT = 256  # a term is frequent from every 256th passage on
_FEWEST = 64  # below, a row of blocks is larger than the list
BLOCK_ARRAYS = (
    *("frequencies", "scales", "ranked", "rare_ends", "frequent"),
    *("rare", "block_max", "block_starts", "group_starts", "local"),
)


def block_arrays(
    row_ends: NDArray[np.int64], row_terms: NDArray[np.uint32], weights: NDArray[np.float32], terms: int
) -> dict[str, NDArray[Any]]:
    """The arrays of a field.

    Args:
        row_ends: i64[n + 1]: terms of passage d are row_terms[row_ends[d]:row_ends[d + 1]].
        row_terms: u32[p], term numbers below `terms`, each at most once in a passage.
        weights: f32[p] > 0, what a posting adds to a score at most.
        terms: how many there are; each has a posting.
    """
    from m3search.storage import inversion

    passages = len(row_ends) - 1
    if passages > LARGEST_SEGMENT:
        raise StorageError(
            f"a segment of {passages:,} passages is over the {LARGEST_SEGMENT:,} that postings can number: "
            f"build with a smaller segment_size"
        )
    blocks = -(-passages // BLOCK)
    frequencies = np.bincount(row_terms, minlength=terms).astype(np.uint32)
    largest = np.zeros(terms, np.float32)
    inversion.largest_weights(row_terms, weights, largest)
    scales = _scales(largest)
    is_frequent = frequencies >= max(passages / _FREQUENT, _FEWEST)
    frequent = np.flatnonzero(is_frequent).astype(np.uint32)
    rare_ends = ends_of(np.where(is_frequent, 0, frequencies))
    local_ends = ends_of(frequencies[frequent])
    rows = np.full(terms, -1, np.int64)
    rows[frequent] = np.arange(len(frequent))
    rare = np.empty(rare_ends[-1], np.uint32)
    local = np.empty(local_ends[-1], np.uint16)
    counts = np.zeros((len(frequent), blocks + 1), np.uint16)
    block_max = np.zeros((len(frequent), blocks), np.uint8)
    places = rare_ends[:-1].copy(), local_ends[:-1].copy()
    inversion.invert(row_ends, row_terms, weights, scales, rows, *places, rare, local, counts, block_max)
    ranked = np.zeros((terms, len(RANKS)), np.uint16)
    inversion.rank_impacts(frequencies, rows, rare_ends, rare, local_ends, local, np.array(RANKS), ranked)
    block_starts = np.zeros((len(frequent), blocks + 1), np.uint16)
    group_starts = np.zeros((len(frequent), blocks // GROUP + 1), np.int64)
    inversion.starts(counts, local_ends, block_starts, group_starts)
    return {
        "frequencies": frequencies,
        "scales": scales,
        "ranked": ranked,
        "rare_ends": rare_ends,
        "rare": rare,
        "frequent": frequent,
        "block_max": block_max.reshape(len(frequent), blocks),
        "block_starts": block_starts,
        "group_starts": group_starts,
        "local": local,
    }


class BlockPostings:
    """The arrays of a field, as views into the store.

    Attributes:
        count: how many blocks there are; the others are the arrays of this module.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray[Any]], passages: int, terms: int, postings: int, where: str
    ) -> None:
        self.frequencies: NDArray[np.uint32] = arrays["frequencies"]
        self.scales: NDArray[np.float32] = arrays["scales"]
        self.ranked: NDArray[np.uint16] = arrays["ranked"]
        self.rare_ends: NDArray[np.int64] = arrays["rare_ends"]
        self.rare: NDArray[np.uint32] = arrays["rare"]
        self.frequent: NDArray[np.uint32] = arrays["frequent"]
        self.block_max: NDArray[np.uint8] = arrays["block_max"]
        self.block_starts: NDArray[np.uint16] = arrays["block_starts"]
        self.group_starts: NDArray[np.int64] = arrays["group_starts"]
        self.local: NDArray[np.uint16] = arrays["local"]
        self.count = -(-passages // BLOCK)
        self._check(terms, postings, where)

    def _check(self, terms: int, postings: int, where: str) -> None:
        frequent = len(self.frequent)
        shapes: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "frequencies": (self.frequencies, (terms,)),
            "scales": (self.scales, (terms,)),
            "ranked": (self.ranked, (terms, len(RANKS))),
            "block_max": (self.block_max, (frequent, self.count)),
            "block_starts": (self.block_starts, (frequent, self.count + 1)),
            "group_starts": (self.group_starts, (frequent, self.count // GROUP + 1)),
            "local": (self.local, (postings - len(self.rare),)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape and not array.size == 0 == np.prod(shape):
                raise CorruptionError(
                    f"the array {name!r} of {where} is {array.shape}, should be {shape}: restore the index or build it again"
                )
        check_ends(self.rare_ends, terms, len(self.rare), where)
        if not (np.isfinite(self.scales).all() and (self.scales > 0).all()):
            raise CorruptionError(f"the array 'scales' of {where} holds what is no scale: restore the index")
        if frequent and int(self.frequent.max()) >= terms:
            raise CorruptionError(f"{where} has frequent terms that it does not have: restore the index")

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of frequent terms i64[q]; -1 for a rare one."""
        places = np.searchsorted(self.frequent, numbers)
        there = places < len(self.frequent)
        there[there] = self.frequent[places[there]] == numbers[there]
        return np.where(there, places, -1)

    def docids(self, number: int) -> NDArray[np.int64]:
        """Passages i64[df] that hold a term, ascending."""
        return self.impacts(number)[0]

    def impacts(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Passages i64[df] that hold a term, ascending, and its impacts there."""
        row = int(self.rows(np.array([number]))[0])
        if row < 0:
            postings = self.rare[self.rare_ends[number] : self.rare_ends[number + 1]]
            return (postings >> np.uint32(10)).astype(np.int64), (postings & np.uint32(1023)).astype(np.int64)
        starts = self.block_starts[row].astype(np.int64) + np.repeat(self.group_starts[row], GROUP)[: self.count + 1]
        local = self.local[starts[0] : starts[-1]]
        blocks = np.repeat(np.arange(self.count), np.diff(starts))
        return blocks * BLOCK + (local & np.uint16(BLOCK - 1)), (local >> np.uint16(6)).astype(np.int64)


def _scales(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smallest f32 whose product with the largest impact is not below the largest weight."""
    scales = (largest.astype(np.float64) / LARGEST_IMPACT).astype(np.float32)
    short = scales.astype(np.float64) * LARGEST_IMPACT < largest
    return np.where(short, np.nextafter(scales, np.float32(np.inf)), scales)
