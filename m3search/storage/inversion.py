"""Inversion: compiled loops that turn passages' rows into block postings.

Imports numba; used by `block_postings` only. Invariant: a passage after the other, so that every list comes out ascending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from m3search.storage.block_postings import LARGEST_IMPACT

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    scales: NDArray[np.float32],
    rows: NDArray[np.int64],
    rare_places: NDArray[np.int64],
    local_places: NDArray[np.int64],
    rare: NDArray[np.uint32],
    local: NDArray[np.uint16],
    counts: NDArray[np.uint16],
    block_max: NDArray[np.uint8],
) -> None:
    """Fills the postings, and per frequent term and block their number and largest impact.

    Args:
        row_ends: as in `block_arrays`, and so are `row_terms` and `weights`.
        row_terms: term numbers.
        weights: one for each of them.
        scales: weight of an impact of 1, of every term.
        rows: row of a frequent term, -1 of a rare one.
        rare_places: where every term's next rare posting goes; is moved on.
        local_places: where every frequent term's next posting goes; is moved on.
        rare: is filled.
        local: is filled.
        counts: u16[f, b + 1] of zeros; the postings of block b are counted at b + 1.
        block_max: is filled.
    """
    for passage in range(len(row_ends) - 1):
        block = passage >> 6
        for place in range(row_ends[passage], row_ends[passage + 1]):
            term = row_terms[place]
            weight, scale = np.float64(weights[place]), np.float64(scales[term])
            impact = int(np.ceil(weight / scale)) if scale > 0 else 1
            if impact * scale < weight:
                impact += 1
            impact = min(max(impact, 1), LARGEST_IMPACT)
            row = rows[term]
            if row < 0:
                rare[rare_places[term]] = np.uint32(passage << 10 | impact)
                rare_places[term] += 1
            else:
                local[local_places[row]] = np.uint16(impact << 6 | (passage & 63))
                local_places[row] += 1
                counts[row, block + 1] += np.uint16(1)
                block_max[row, block] = max(block_max[row, block], np.uint8((impact + 3) >> 2))


@njit(cache=True, nogil=True)
def rank_impacts(
    frequencies: NDArray[np.uint32],
    rows: NDArray[np.int64],
    rare_ends: NDArray[np.int64],
    rare: NDArray[np.uint32],
    local_ends: NDArray[np.int64],
    local: NDArray[np.uint16],
    ranks: NDArray[np.int64],
    ranked: NDArray[np.uint16],
) -> None:
    """Enters the impacts at some ranks of every term into u16[t, ranks]; 0 where it has fewer postings."""
    histogram = np.zeros(LARGEST_IMPACT + 1, np.int64)
    for term in range(len(frequencies)):
        if frequencies[term] < ranks[0]:
            continue
        histogram[:] = 0
        row = rows[term]
        if row < 0:
            for place in range(rare_ends[term], rare_ends[term + 1]):
                histogram[rare[place] & np.uint32(1023)] += 1
        else:
            for place in range(local_ends[row], local_ends[row + 1]):
                histogram[local[place] >> np.uint16(6)] += 1
        above, rank = 0, 0
        for impact in range(LARGEST_IMPACT, 0, -1):
            above += histogram[impact]
            while rank < len(ranks) and above >= ranks[rank]:
                ranked[term, rank] = impact
                rank += 1


@njit(cache=True, nogil=True)
def starts(
    counts: NDArray[np.uint16],
    local_ends: NDArray[np.int64],
    block_starts: NDArray[np.uint16],
    group_starts: NDArray[np.int64],
) -> None:
    """Sums counts up to where blocks begin, from the group's beginning on."""
    for row in range(counts.shape[0]):
        place = local_ends[row]
        for block in range(counts.shape[1]):
            place += counts[row, block]
            if block & 1023 == 0:
                group_starts[row, block >> 10] = place
            block_starts[row, block] = np.uint16(place - group_starts[row, block >> 10])


def warm() -> Any:  # noqa: ANN401 - called for what it compiles
    """Compiles all of it for the types that are stored."""
    from m3search.storage.block_postings import block_arrays

    return block_arrays(np.array([0, 1], np.int64), np.array([0], np.uint32), np.array([1], np.float32), 1)
