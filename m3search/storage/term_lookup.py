"""TermLookup: compiled loops that find terms among sorted ones.

Imports numba; used by `postings` and `segment`, on use. Invariant: order is that of UTF-8 bytes, as `BM25Writer` sorts, and
nothing is read outside the terms while their ends rise, which an opening checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def find_terms(
    terms: NDArray[np.uint8],
    ends: NDArray[np.int64],
    wanted: NDArray[np.uint8],
    wanted_ends: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> None:
    """Fills in where each wanted term stands, -1 of one that is not there.

    Args:
        terms: u8, the bytes of all terms one after the other, ascending.
        ends: i64[t + 1]: term i is terms[ends[i]:ends[i + 1]].
        wanted: u8, the same of the terms that are looked for, in any order.
        wanted_ends: i64[q + 1].
        numbers: i64[q].
    """
    for position in range(len(numbers)):
        one = wanted[wanted_ends[position] : wanted_ends[position + 1]]
        numbers[position] = find_between(terms, ends, one, 0, len(ends) - 1)


@njit(cache=True, nogil=True)
def find_between(
    terms: NDArray[np.uint8], ends: NDArray[np.int64], wanted: NDArray[np.uint8], low: int, high: int
) -> int:
    """Where one term stands among those from `low` up to `high`, -1 if it does not."""
    while low < high:
        middle = (low + high) >> 1
        first, last = ends[middle], ends[middle + 1]
        length = min(last - first, len(wanted))
        order, place = 0, 0
        while order == 0 and place < length:
            order = np.int64(terms[first + place]) - np.int64(wanted[place])
            place += 1
        if order == 0:  # what is the beginning of another stands before it
            order = (last - first) - len(wanted)
        if order == 0:
            return middle
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return -1


@njit(cache=True, nogil=True)
def prefixes_of(terms: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """u64[t], the first eight bytes of each term as one number, zeros where it is shorter: ascending like the terms."""
    prefixes = np.empty(len(ends) - 1, np.uint64)
    for number in range(len(prefixes)):
        prefixes[number] = prefix_of(terms[ends[number] : ends[number + 1]])
    return prefixes


@njit(cache=True, nogil=True)
def prefix_of(term: NDArray[np.uint8]) -> int:
    """The first eight bytes of one term."""
    prefix = np.uint64(0)
    for place in range(8):
        byte = term[place] if place < len(term) else np.uint8(0)
        prefix = prefix << np.uint64(8) | np.uint64(byte)
    return prefix


def warm() -> None:
    """Compiles them for the types that are stored."""
    nothing = np.frombuffer(b"", np.uint8)
    stored = np.zeros(1, np.int64)
    stored.flags.writeable = False
    find_terms(nothing, stored, nothing, np.zeros(1, np.int64), np.empty(0, np.int64))
    prefixes_of(nothing, stored)
