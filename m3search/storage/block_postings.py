"""Block postings: the inverted store of a field, laid out for one pass over upper bounds.

Owns the layout and both its ends, `block_arrays` and `BlockPostings`; imports the inversion kernels. Invariant: an
impact times its term's scale is never below the weight it stands for, and a block's maximum never below its impacts, so
that every sum of them bounds every true score; exact scores come from the forward store alone.

Passages stand in blocks of 64, blocks in groups of 32. A term is rare; or frequent, in at least every 240th passage; and of
the frequent ones those in at least every fourth passage are columns, with a byte for each passage. The arrays are those of
`BlockArrays`. Impacts are 1 to 1,020: ten bits less what keeps a quarter of them within a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.errors import CorruptionError, StorageError
from m3search.storage.codec import check_ends, ends_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 64
GROUP = 32
LARGEST_IMPACT = 1020
LARGEST_SEGMENT = 2**22
"""Passages that a rare posting can number in 22 bits."""
RANKS = (10, 100, 1000)

_FREQUENT = 240  # a term is frequent from every 240th passage on
_FEWEST = 64  # below, a row of blocks is larger than the list
_COLUMN = 4  # a byte a passage is less than 2 bytes a posting from every second on, and much faster to add up


class BlockArrays(NamedTuple):
    """The arrays of a field with n passages in b blocks and g groups, and t terms: r postings of rare terms; f frequent
    terms, of which c are columns and the other l have p postings.

    Attributes:
        frequencies: u32[t], passages that hold the term.
        scales: f32[t], the weight of an impact of 1.
        ranked: u16[t, 3], the 10th, 100th and 1000th largest impact; 0 where there are fewer.
        rare_ends: i64[t + 1], rare postings of term i: rare_ends[i] to rare_ends[i + 1]; none of a frequent one.
        rare: u32[r], passage << 10 | impact, ascending.
        frequent: u32[f], numbers of the frequent terms, ascending.
        places: i64[f], where the term stands in the next but one to three if it is at least 0, or else -1 - its column.
        block_max: u8[f, b], a quarter of the largest impact in the block, rounded up; 0 where there is none.
        counts: u8[l, b], postings in the block.
        group_starts: u32[l, g], where the postings of a group begin in `local`.
        local: u16[p], impact << 6 | place in the block, ascending by passage.
        columns: u8[c, 64 b], a quarter of each passage's impact, rounded up; 0 where it does not hold the term.
    """

    frequencies: NDArray[np.uint32]
    scales: NDArray[np.float32]
    ranked: NDArray[np.uint16]
    rare_ends: NDArray[np.int64]
    rare: NDArray[np.uint32]
    frequent: NDArray[np.uint32]
    places: NDArray[np.int64]
    block_max: NDArray[np.uint8]
    counts: NDArray[np.uint8]
    group_starts: NDArray[np.uint32]
    local: NDArray[np.uint16]
    columns: NDArray[np.uint8]


BLOCK_ARRAYS = BlockArrays._fields


def block_arrays(
    row_ends: NDArray[np.int64], row_terms: NDArray[np.uint32], weights: NDArray[np.float32], terms: int
) -> dict[str, NDArray[Any]]:
    """The arrays of a field, by name.

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
    is_frequent = frequencies >= max(passages / _FREQUENT, _FEWEST)
    frequent = np.flatnonzero(is_frequent).astype(np.uint32)
    is_column = frequencies[frequent] >= passages / _COLUMN
    places = np.where(is_column, 0 - np.cumsum(is_column), np.cumsum(~is_column) - 1).astype(np.int64)
    rows = np.full(terms, -1, np.int64)
    rows[frequent] = np.arange(len(frequent))
    rare_ends = ends_of(np.where(is_frequent, 0, frequencies))
    local_ends = ends_of(frequencies[frequent[~is_column]])
    lists, groups = len(local_ends) - 1, -(-blocks // GROUP)
    arrays = BlockArrays(
        frequencies=frequencies,
        scales=_scales(largest),
        ranked=np.zeros((terms, len(RANKS)), np.uint16),
        rare_ends=rare_ends,
        rare=np.empty(rare_ends[-1], np.uint32),
        frequent=frequent,
        places=places,
        block_max=np.zeros((len(frequent), blocks), np.uint8),
        counts=np.zeros((lists, blocks), np.uint8),
        group_starts=np.zeros((lists, groups), np.uint32),
        local=np.empty(local_ends[-1], np.uint16),
        columns=np.zeros((int(is_column.sum()), BLOCK * blocks), np.uint8),
    )
    inversion.invert(row_ends, row_terms, weights, rows, rare_ends[:-1].copy(), local_ends[:-1].copy(), arrays)
    inversion.rank_impacts(rows, local_ends, np.array(RANKS), arrays)
    inversion.start_groups(local_ends, arrays.counts, arrays.group_starts)
    return arrays._asdict()


class BlockPostings:
    """The inverted store of a field, opened.

    Attributes:
        arrays: views into the store.
        count: how many blocks there are.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray[Any]], passages: int, terms: int, postings: int, where: str
    ) -> None:
        self.count = -(-passages // BLOCK)
        frequent, columns = len(arrays["frequent"]), int((arrays["places"] < 0).sum())
        shapes: dict[str, tuple[int, ...]] = {
            "frequencies": (terms,),
            "scales": (terms,),
            "ranked": (terms, len(RANKS)),
            "rare_ends": (terms + 1,),
            "places": (frequent,),
            "block_max": (frequent, self.count),
            "counts": (frequent - columns, self.count),
            "group_starts": (frequent - columns, -(-self.count // GROUP)),
            "columns": (columns, BLOCK * self.count),
        }
        self.arrays = BlockArrays(
            **{name: _shaped(arrays[name], shapes.get(name), name, where) for name in BLOCK_ARRAYS}
        )
        self._check(terms, postings, where)

    def _check(self, terms: int, postings: int, where: str) -> None:
        arrays = self.arrays
        check_ends(arrays.rare_ends, terms, len(arrays.rare), where)
        if len(arrays.rare) + len(arrays.local) > postings:
            raise CorruptionError(f"{where} has more postings than passages hold terms: restore the index")
        if not (np.isfinite(arrays.scales).all() and (arrays.scales > 0).all()):
            raise CorruptionError(f"the array 'scales' of {where} holds what is no scale: restore the index")
        if len(arrays.frequent) and int(arrays.frequent.max()) >= terms:
            raise CorruptionError(f"{where} has frequent terms that it does not have: restore the index")
        places = np.sort(arrays.places)
        if (places != np.arange(-len(arrays.columns), len(arrays.counts))).any():
            raise CorruptionError(f"the frequent terms of {where} stand in no order: restore the index")

    @property
    def rare_postings(self) -> int:
        """How many rare terms have."""
        return len(self.arrays.rare)

    @property
    def frequent_terms(self) -> int:
        """How many there are."""
        return len(self.arrays.frequent)

    def row(self, number: int) -> int:
        """The row of a frequent term; -1 for a rare one."""
        frequent = self.arrays.frequent
        place = int(np.searchsorted(frequent, number))
        return place if place < len(frequent) and frequent[place] == number else -1

    def docids(self, number: int) -> NDArray[np.int64]:
        """Passages i64[df] that hold a term, ascending."""
        return self.impacts(number)[0]

    def impacts(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Passages i64[df] that hold a term, ascending, and its impacts there, those of a column rounded up to quarters."""
        arrays, row = self.arrays, self.row(number)
        if row < 0:
            postings = arrays.rare[arrays.rare_ends[number] : arrays.rare_ends[number + 1]]
            return (postings >> np.uint32(10)).astype(np.int64), (postings & np.uint32(1023)).astype(np.int64)
        place = int(arrays.places[row])
        if place < 0:
            column = arrays.columns[-1 - place]
            return np.flatnonzero(column), 4 * column[column > 0].astype(np.int64)
        counts, start = arrays.counts[place].astype(np.int64), int(arrays.group_starts[place, 0])
        local = arrays.local[start : start + int(counts.sum())]
        blocks = np.repeat(np.arange(self.count), counts)
        return blocks * BLOCK + (local & np.uint16(BLOCK - 1)), (local >> np.uint16(6)).astype(np.int64)


def _shaped(array: NDArray[Any], shape: tuple[int, ...] | None, name: str, where: str) -> NDArray[Any]:
    """The array if it has this shape; what has no values is stored without its number of columns."""
    if shape is None or array.shape == shape:
        return array
    if array.size == 0 == np.prod(shape):
        return array.reshape(shape)
    raise CorruptionError(
        f"the array {name!r} of {where} is {array.shape}, should be {shape}: restore the index or build it again"
    )


def _scales(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smallest f32 whose product with the largest impact is not below the largest weight."""
    scales = (largest.astype(np.float64) / LARGEST_IMPACT).astype(np.float32)
    short = scales.astype(np.float64) * LARGEST_IMPACT < largest
    return np.where(short, np.nextafter(scales, np.float32(np.inf)), scales)
