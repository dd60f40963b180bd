"""Addresses: where arrays lie, as rows of numbers that compiled loops take instead of the arrays.

Imports numba. To hand thirty arrays to a compiled loop takes longer than a search for the best ten does. Owns both ends:
`field_addresses`, and `scratch` for its arrays, write a row; what ends in `_at` makes arrays of it again.
Invariant: whoever hands over a row holds what it points at, and the loops only read what is a field's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from m3search.retrieval.compiling import compiled, inlined
from m3search.retrieval.scratch import Scratch
from m3search.storage import BLOCK, GROUP, RANKS, BlockArrays

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from m3search.storage import Segment

_BASE, _PASSAGES, _WIDE, _FIRST = 0, 1, 2, 4
_POSTINGS, _ROWS = _FIRST, _FIRST + 2 * len(BlockArrays._fields)
_RANKS = len(RANKS)
WIDTH = _ROWS + 10
"""Numbers in a field's row."""


class Rows(NamedTuple):
    """A field's forward store.

    Attributes:
        ends: i64[n + 1], as row_ends in `postings`.
        terms: u32[p], as row_terms.
        halves: u16[p], row_values of two bytes: bits of normal f16, or term frequencies; else empty.
        words: u32[p], row_values of four bytes: bits of f32, or term frequencies; else empty.
        lengths: u32[n] where values are term frequencies; else empty.
        tokens: u32[t], token ids in ascending order; empty where terms are words.
    """

    ends: NDArray[np.int64]
    terms: NDArray[np.uint32]
    halves: NDArray[np.uint16]
    words: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    tokens: NDArray[np.uint32]


def field_addresses(segment: Segment, name: str) -> NDArray[np.int64]:
    """The row of a segment's field."""
    field = segment.fields[name]
    none = np.empty(0, np.uint32)
    wide = field.row_values.dtype.itemsize == 4
    tokens = field.terms if field.term_ends is None else none
    lengths = none if field.lengths is None else field.lengths
    arrays = (*field.blocks.arrays, field.row_ends, field.row_terms, field.row_values, lengths, tokens)
    return np.array([segment.base, segment.info.passages, wide, 0, *pairs(arrays)], np.int64)


def pairs(arrays: Iterable[NDArray[Any]]) -> Iterable[int]:
    """Of each array its address and its length."""
    for array in arrays:
        yield from (array.ctypes.data, len(array))


@intrinsic
def pointer(typing_context: Any, address: Any, dtype: Any) -> Any:  # noqa: ANN401, ARG001 - numba's protocol
    """An address as a pointer to this type."""
    pointer = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401, ARG001
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, dtype), generate


@inlined
def base_of(row: NDArray[np.int64]) -> int:
    """The segment's first docid."""
    return row[_BASE]


@inlined
def passages_of(row: NDArray[np.int64]) -> int:
    """How many the segment has."""
    return row[_PASSAGES]


@compiled
def postings_at(row: NDArray[np.int64]) -> BlockArrays:
    """The inverted store that a field's row points at."""
    blocks = (row[_PASSAGES] + BLOCK - 1) // BLOCK
    groups = (blocks + GROUP - 1) // GROUP
    at = row[_POSTINGS:_ROWS]
    return BlockArrays(
        carray(pointer(at[0], np.uint32), (at[1],)),
        carray(pointer(at[2], np.float32), (at[3],)),
        carray(pointer(at[4], np.uint16), (at[5], _RANKS)),
        carray(pointer(at[6], np.int64), (at[7],)),
        carray(pointer(at[8], np.uint32), (at[9],)),
        carray(pointer(at[10], np.uint32), (at[11],)),
        carray(pointer(at[12], np.int64), (at[13],)),
        carray(pointer(at[14], np.uint8), (at[15], blocks)),
        carray(pointer(at[16], np.uint8), (at[17], blocks)),
        carray(pointer(at[18], np.uint32), (at[19], groups)),
        carray(pointer(at[20], np.uint16), (at[21],)),
        carray(pointer(at[22], np.uint8), (at[23], BLOCK * blocks)),
    )


@compiled
def rows_at(row: NDArray[np.int64]) -> Rows:
    """The forward store that a field's row points at."""
    at = row[_ROWS:]
    return Rows(
        carray(pointer(at[0], np.int64), (at[1],)),
        carray(pointer(at[2], np.uint32), (at[3],)),
        carray(pointer(at[4], np.uint16), (at[5] * (1 - row[_WIDE]),)),
        carray(pointer(at[4], np.uint32), (at[5] * row[_WIDE],)),
        carray(pointer(at[6], np.uint32), (at[7],)),
        carray(pointer(at[8], np.uint32), (at[9],)),
    )


@compiled
def scratch_at(row: NDArray[np.int64]) -> Scratch:
    """The arrays that a thread's row points at."""
    terms = row[len(row) - 1]
    return Scratch(
        carray(pointer(row[0], np.uint64), (row[1],)),
        carray(pointer(row[2], np.uint64), (row[3],)),
        carray(pointer(row[4], np.uint8), (row[5],)),
        carray(pointer(row[6], np.uint32), (row[7],)),
        carray(pointer(row[8], np.int32), (row[9],)),
        carray(pointer(row[10], np.int32), (row[11],)),
        carray(pointer(row[12], np.uint32), (row[13],)),
        carray(pointer(row[14], np.uint32), (row[15],)),
        carray(pointer(row[16], np.float64), (row[17],)),
        carray(pointer(row[18], np.int32), (row[19],)),
        carray(pointer(row[20], np.int32), (row[21],)),
        carray(pointer(row[22], np.uint32), (row[23],)),
        carray(pointer(row[24], np.int64), (row[25], terms)),
        carray(pointer(row[26], np.int64), (row[27], terms)),
    )


@compiled
def bitmap_at(address: int, passages: int) -> NDArray[np.uint64]:
    """One word a block: which passages are allowed; empty where the address is 0."""
    words = (passages + BLOCK - 1) // BLOCK
    return carray(pointer(address, np.uint64), (words if address else 0,))
