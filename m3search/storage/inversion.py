"""Inversion: compiled loops that turn passages' rows into block postings.

Imports numba; used by `block_postings` only. Invariant: a passage after the other, so that every list comes out ascending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from m3search.storage.block_postings import GROUP, LARGEST_IMPACT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.block_postings import BlockArrays


@njit(cache=True, nogil=True)
def largest_weights(row_terms: NDArray[np.uint32], weights: NDArray[np.float32], largest: NDArray[np.float32]) -> None:
    """Enters every term's largest weight into f32[t]."""
    for place in range(len(row_terms)):
        term = row_terms[place]
        largest[term] = max(largest[term], weights[place])


@njit(cache=True, nogil=True)
def invert(
    row_ends: NDArray[np.int64],
    row_terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    rows: NDArray[np.int64],
    rare_places: NDArray[np.int64],
    local_places: NDArray[np.int64],
    arrays: BlockArrays,
) -> None:
    """Fills the postings and columns, and per frequent term and block their number and largest impact.

    Args:
        row_ends: as in `block_arrays`, and so are `row_terms` and `weights`.
        row_terms: term numbers.
        weights: one for each of them.
        rows: row of a frequent term, -1 of a rare one.
        rare_places: where every term's next rare posting goes; is moved on.
        local_places: where every listed term's next posting goes; is moved on.
        arrays: scales and places are there; rare, local, columns, counts and block_max are filled, the last three from zeros.
    """
    for passage in range(len(row_ends) - 1):
        block = passage >> 6
        for place in range(row_ends[passage], row_ends[passage + 1]):
            term = row_terms[place]
            weight, scale = np.float64(weights[place]), np.float64(arrays.scales[term])
            impact = int(np.ceil(weight / scale)) if scale > 0 else 1
            if impact * scale < weight:
                impact += 1
            impact = min(max(impact, 1), LARGEST_IMPACT)
            row = rows[term]
            if row < 0:
                arrays.rare[rare_places[term]] = np.uint32(passage << 10 | impact)
                rare_places[term] += 1
                continue
            quarter = np.uint8((impact + 3) >> 2)
            arrays.block_max[row, block] = max(arrays.block_max[row, block], quarter)
            listed = arrays.places[row]
            if listed < 0:
                arrays.columns[-1 - listed, passage] = quarter
            else:
                arrays.local[local_places[listed]] = np.uint16(impact << 6 | (passage & 63))
                local_places[listed] += 1
                arrays.counts[listed, block] += np.uint8(1)


@njit(cache=True, nogil=True)
def rank_impacts(
    rows: NDArray[np.int64], local_ends: NDArray[np.int64], ranks: NDArray[np.int64], arrays: BlockArrays
) -> None:
    """Fills `ranked` with every term's impacts at some ranks; 0 where it has fewer postings.

    Args:
        rows: row of a frequent term, -1 of a rare one.
        local_ends: where a listed term's postings end.
        ranks: i64[ranks], ascending.
        arrays: filled but for this.
    """
    histogram = np.zeros(LARGEST_IMPACT + 1, np.int64)
    for term in range(len(rows)):
        if arrays.frequencies[term] < ranks[0]:
            continue
        histogram[:] = 0
        row = rows[term]
        listed = arrays.places[row] if row >= 0 else 0
        if row < 0:
            for place in range(arrays.rare_ends[term], arrays.rare_ends[term + 1]):
                histogram[arrays.rare[place] & np.uint32(1023)] += 1
        elif listed >= 0:
            for place in range(local_ends[listed], local_ends[listed + 1]):
                histogram[arrays.local[place] >> np.uint16(6)] += 1
        else:
            column = arrays.columns[-1 - listed]
            for passage in range(len(column)):
                histogram[4 * np.int64(column[passage])] += 1
        above, rank = 0, 0
        for impact in range(LARGEST_IMPACT, 0, -1):
            above += histogram[impact]
            while rank < len(ranks) and above >= ranks[rank]:
                arrays.ranked[term, rank] = impact
                rank += 1


@njit(cache=True, nogil=True)
def start_groups(local_ends: NDArray[np.int64], counts: NDArray[np.uint8], group_starts: NDArray[np.uint32]) -> None:
    """Sums counts up to where groups begin."""
    for row in range(counts.shape[0]):
        place = local_ends[row]
        for block in range(counts.shape[1]):
            if block % GROUP == 0:
                group_starts[row, block // GROUP] = place
            place += counts[row, block]


def warm() -> Any:  # noqa: ANN401 - called for what it compiles
    """Compiles all of it for the types that are stored."""
    from m3search.storage.block_postings import block_arrays

    return block_arrays(np.array([0, 1], np.int64), np.array([0], np.uint32), np.array([1], np.float32), 1)
