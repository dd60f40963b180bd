"""Scratch: the arrays that one thread's searches work in, kept from query to query.

Imports numpy only.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUCKETS = 1024
"""Of bounds, to order blocks by."""
BINS = 4096
"""Of a histogram of scores."""
TOGETHER = 16
"""Blocks whose postings are asked for before the first of them is scored."""

_BLOCK = 64
_HUGE = 2**22  # from 4 MiB on, numpy asks the system for huge pages where it makes an array without zeros
_FEWEST_PASSAGES, _FEWEST_TERMS = _HUGE // 4, 64


class Scratch(NamedTuple):
    """Arrays for a segment of at most b blocks.

    Attributes:
        chains: u64[b].
        chained: u64[64 b].
        places: u8[64 b].
        bounds: u32[b].
        order: i32[b].
        listed: i32[b].
        found: u32[64 b + 1].
        uppers: u32[64 b + 1].
        exact: f64[64 b + 1].
        bucket_ends: i32[1025].
        histogram: i32[4096].
        block_sums: u32[64].
        starts: i64[16, q], where the postings of q terms begin in some blocks.
        stops: i64[16, q], where they end.
    """

    chains: NDArray[np.uint64]
    chained: NDArray[np.uint64]
    places: NDArray[np.uint8]
    bounds: NDArray[np.uint32]
    order: NDArray[np.int32]
    listed: NDArray[np.int32]
    found: NDArray[np.uint32]
    uppers: NDArray[np.uint32]
    exact: NDArray[np.float64]
    bucket_ends: NDArray[np.int32]
    histogram: NDArray[np.int32]
    block_sums: NDArray[np.uint32]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


class _Thread(threading.local):
    passages = -1
    terms = -1
    scratch: Scratch
    row: NDArray[np.int64]


_thread = _Thread()


def scratch_for(passages: int, terms: int) -> NDArray[np.int64]:
    """Where this thread's arrays lie, grown to its largest segment and its longest query: a row as `scratch_at` takes it.

    What the last search left in them is lost.

    Args:
        passages: of the segment.
        terms: of the query.
    """
    if passages > _thread.passages or terms > _thread.terms:
        passages, terms = max(passages, _thread.passages, _FEWEST_PASSAGES), max(terms, _thread.terms, _FEWEST_TERMS)
        _thread.scratch = _made(-(-passages // _BLOCK), terms)
        _thread.row = scratch_addresses(_thread.scratch)
        _thread.passages, _thread.terms = passages, terms
    return _thread.row


def _made(blocks: int, terms: int) -> Scratch:
    passages = blocks * _BLOCK
    return Scratch(
        chains=np.empty(blocks, np.uint64),
        chained=np.empty(passages, np.uint64),
        places=np.empty(passages, np.uint8),
        bounds=np.empty(blocks, np.uint32),
        order=np.empty(blocks, np.int32),
        listed=np.empty(blocks, np.int32),
        found=np.empty(passages + 1, np.uint32),
        uppers=np.empty(passages + 1, np.uint32),
        exact=np.empty(passages + 1),
        bucket_ends=np.empty(BUCKETS + 1, np.int32),
        histogram=np.empty(BINS, np.int32),
        block_sums=np.empty(_BLOCK, np.uint32),
        starts=np.empty((TOGETHER, terms), np.int64),
        stops=np.empty((TOGETHER, terms), np.int64),
    )


def scratch_addresses(scratch: Scratch) -> NDArray[np.int64]:
    """The row of these arrays."""
    pairs = [number for array in scratch for number in (array.ctypes.data, len(array))]
    return np.array([*pairs, scratch.starts.shape[1]], np.int64)
