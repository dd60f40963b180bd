"""Bitmaps: sets of documents of a segment, as Roaring bitmaps on the disk and as packed bits in memory.

Imports errors, numpy and, to write, pyroaring. Invariant: damaged bytes give an error or a wrong set, and nothing outside the
bitmap is read or written: so they are unpacked here, container by container, and not by a library that trusts them.

Source: the Roaring bitmap's portable format, https://github.com/RoaringBitmap/RoaringFormatSpec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.errors import CorruptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COOKIE, _COOKIE_WITH_RUNS = 12346, 12347
_NO_OFFSETS = 4  # containers below which a bitmap with runs has no offsets
_CONTAINER = 65_536
_CONTAINER_BYTES = _CONTAINER // 8
_LARGEST_ARRAY = 4096
_WORTH_RUNS = 8  # times that runs must be smaller: then there are few in a container, and they are soon unpacked


def packed_rows(rows: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    """Packed bits of a set of numbers below `count`, least significant first."""
    mask = np.zeros(count, bool)
    mask[rows] = True
    return np.packbits(mask, bitorder="little")


def rows_of(packed: NDArray[np.uint8] | None, count: int) -> NDArray[np.int64]:
    """The numbers below `count` whose bits are set, ascending; None: all."""
    if packed is None:
        return np.arange(count)
    return np.flatnonzero(np.unpackbits(packed, count=count, bitorder="little"))


def complement(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """The others of `count`."""
    others = ~packed
    return without_tail(others, count)


def without_tail(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """The same array, with the bits behind `count` cleared."""
    if count % 8:
        packed[-1] &= (1 << count % 8) - 1
    return packed


def everything(count: int) -> NDArray[np.uint8]:
    """All of `count`."""
    return without_tail(np.full(-(-count // 8), 255, np.uint8), count)


def roaring(rows: NDArray[np.int64]) -> bytes:
    """A set of distinct numbers, ascending, as a Roaring bitmap in the portable format."""
    from pyroaring import BitMap

    made = BitMap(rows.astype(np.uint32))
    plain: bytes = made.serialize()
    made.run_optimize()
    runs: bytes = made.serialize()
    return runs if _WORTH_RUNS * len(runs) <= len(plain) else plain


def unpacked(blob: NDArray[np.uint8], count: int, where: str) -> NDArray[np.uint8]:
    """Packed bits of a Roaring bitmap of numbers below `count`.

    Raises:
        CorruptionError: it is none.
    """
    try:
        return _unpacked(blob, count)
    except (IndexError, ValueError) as error:
        raise CorruptionError(f"a bitmap of {where} is damaged: restore the index or build it again") from error


def _unpacked(blob: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    containers = -(-count // _CONTAINER)
    packed = np.zeros(containers * _CONTAINER_BYTES, np.uint8)
    scattered = []
    keys, sizes, runs, at = _header(blob)
    for key, size, with_runs in zip(keys, sizes, runs, strict=True):
        if key >= containers:
            raise ValueError("a number is too large")
        if with_runs:
            number = int(_words(blob, at, 1)[0])
            pairs = _words(blob, at + 2, 2 * number).astype(np.int64)
            at += 2 + 4 * number
            start = key * _CONTAINER_BYTES
            packed[start : start + _CONTAINER_BYTES] = _of_runs(pairs[::2], pairs[1::2])
        elif size > _LARGEST_ARRAY:
            start = key * _CONTAINER_BYTES
            packed[start : start + _CONTAINER_BYTES] = blob[at : at + _CONTAINER_BYTES]
            at += _CONTAINER_BYTES
        else:
            scattered.append(_words(blob, at, size) + np.uint32(key * _CONTAINER))
            at += 2 * size
    if scattered:
        rows = np.concatenate(scattered)
        if len(rows) * 64 < count:
            np.bitwise_or.at(packed, rows >> np.uint32(3), np.uint8(1) << (rows & np.uint32(7)).astype(np.uint8))
        else:
            packed |= packed_rows(rows, 8 * len(packed))
    return without_tail(packed[: -(-count // 8)], count)


def _header(blob: NDArray[np.uint8]) -> tuple[list[int], list[int], list[bool], int]:
    """Of every container its key, its size and whether it holds runs; and where the first one begins."""
    cookie = int(_words(blob, 0, 1)[0])
    if cookie == _COOKIE_WITH_RUNS:
        number = int(_words(blob, 2, 1)[0]) + 1
        flags = blob[4 : 4 + -(-number // 8)]
        runs = np.unpackbits(flags, count=number, bitorder="little").astype(bool).tolist()
        at = 4 + len(flags)
        offsets = number >= _NO_OFFSETS
    elif cookie == _COOKIE:
        number = int(_words(blob, 4, 1)[0])
        runs = [False] * number
        at, offsets = 8, True
    else:
        raise ValueError("not a Roaring bitmap")
    table = _words(blob, at, 2 * number)
    at += 4 * number + (4 * number if offsets else 0)
    return table[::2].tolist(), (table[1::2].astype(np.int64) + 1).tolist(), runs, at


def _words(blob: NDArray[np.uint8], at: int, count: int) -> NDArray[np.uint32]:
    """16-bit words, wherever they stand."""
    raw = blob[at : at + 2 * count]
    if len(raw) != 2 * count:
        raise ValueError("a bitmap is cut off")
    return np.frombuffer(raw.tobytes(), "<u2").astype(np.uint32)


def _of_runs(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A container of runs, as packed bits; a run of length n has n + 1 numbers."""
    if len(starts) == 1 and starts[0] == 0 and lengths[0] == _CONTAINER - 1:
        return np.full(_CONTAINER_BYTES, 255, np.uint8)
    borders = np.empty(2 * len(starts) + 2, np.int64)
    borders[0], borders[-1] = 0, _CONTAINER
    borders[1:-1:2], borders[2:-1:2] = starts, starts + lengths + 1
    inside = np.zeros(len(borders) - 1, bool)
    inside[1::2] = True
    return np.packbits(np.repeat(inside, np.diff(borders)), bitorder="little")  # ValueError: they overlap
