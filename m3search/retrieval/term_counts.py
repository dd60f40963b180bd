"""TermCounts: a compiled call that finds a query's words in all segments, and how many live passages hold each.

Imports numba, its neighbours and storage's lookup. Twenty segments asked one by one took longer than the search itself, and so
did comparing words byte by byte: they are found by their first eight bytes as one number, and compared where these are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import carray

from m3search.retrieval.addresses import pairs, pointer
from m3search.retrieval.compiling import borrowing, compiled
from m3search.storage.term_lookup import find_between, prefix_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from m3search.storage import Segment, Snapshot

_WIDTH = 8
_NAME = "bm25.terms"


def counted(snapshot: Snapshot, terms: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words' numbers in each segment, i64[s, q], -1 where it lacks one; and how many live passages hold them, i64[q]."""
    rows = snapshot.addresses.get(_NAME)
    if rows is None:
        rows = np.array([_row(segment) for segment in snapshot.segments], np.int64).reshape(-1, _WIDTH)
        snapshot.addresses[_NAME] = rows
    encoded = [term.encode() for term in terms]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(term) for term in encoded], out=ends[1:])
    numbers, frequencies = np.empty((len(rows), len(encoded)), np.int64), np.zeros(len(encoded), np.int64)
    count_terms(rows, np.frombuffer(b"".join(encoded), np.uint8), ends, numbers, frequencies)
    return numbers, frequencies


def _row(segment: Segment) -> list[int]:
    """Where a segment's words lie, their prefixes, and the number of live passages that hold each; the segment keeps them."""
    field = segment.fields["bm25"]
    assert field.term_ends is not None
    return list(pairs((field.terms, field.term_ends, segment.bm25_prefixes, segment.bm25_frequencies)))


@compiled
def count_terms(
    rows: NDArray[np.int64],
    wanted: NDArray[np.uint8],
    wanted_ends: NDArray[np.int64],
    numbers: NDArray[np.int64],
    frequencies: NDArray[np.int64],
) -> None:
    """Fills in `numbers`, and adds to `frequencies`.

    Args:
        rows: i64[s, 8], see `_row`.
        wanted: u8, the bytes of all words that are looked for, one after the other.
        wanted_ends: i64[q + 1], where they end.
        numbers: i64[s, q].
        frequencies: i64[q].
    """
    for position in range(len(rows)):
        row, local = rows[position], numbers[position]
        terms, ends = carray(pointer(row[0], np.uint8), (row[1],)), carray(pointer(row[2], np.int64), (row[3],))
        prefixes, live = carray(pointer(row[4], np.uint64), (row[5],)), carray(pointer(row[6], np.int64), (row[7],))
        for term in range(len(local)):
            word = wanted[wanted_ends[term] : wanted_ends[term + 1]]
            prefix = prefix_of(word)
            low = high = _first_from(prefixes, prefix)
            while high < len(prefixes) and prefixes[high] == prefix:  # so far at least: few words or none
                high = min(2 * high - low + 1, len(prefixes))
            local[term] = find_between(terms, ends, word, low, high)
            if local[term] >= 0:
                frequencies[term] += live[local[term]]


@borrowing
def _first_from(prefixes: NDArray[np.uint64], wanted: int) -> int:
    """The first that is not below this one; no branch depends on what was read, which a processor could only guess."""
    low, count = 0, len(prefixes)
    while count > 1:
        half = count >> 1
        low = low + half if prefixes[low + half - 1] < wanted else low
        count -= half
    return low + 1 if count and prefixes[low] < wanted else low


def warm() -> None:
    """Compiles it for the types that are handed over."""
    nothing = np.frombuffer(b"", np.uint8)
    count_terms(
        np.empty((0, _WIDTH), np.int64),
        nothing,
        np.zeros(1, np.int64),
        np.empty((0, 0), np.int64),
        np.empty(0, np.int64),
    )
