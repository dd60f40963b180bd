"""Binary layouts: how arrays and records become bytes, and bytes that were checked become arrays and records.

Owns the array blob, the record and the checksum; imports errors, numpy and msgpack only. Invariant: nothing is parsed
before its checksum or its header was checked, nothing is read outside the buffer, and bytes are bound to the key they were
written under: a value that comes back under another is found, too.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from m3search.errors import CorruptionError, StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKSUM_BYTES = 16
VALUE_LIMIT = 64 * 2**20
"""Largest record, and the size that arrays are kept to: LMDB holds a value in memory while it writes it."""
ARRAY_LIMIT = 2**30
"""Largest array: a segment learns only after a batch that it is full, so it may pass `VALUE_LIMIT`."""

_ARRAY_MAGIC = b"M3ARRAY\x01"
_ARRAY_FIELDS = struct.Struct(
    "<8s4sIQQ16s"
)  # magic and version, dtype, dimensions, rows, columns, checksum of the values
_ARRAY_HEADER_BYTES = _ARRAY_FIELDS.size + CHECKSUM_BYTES  # 64, which keeps the values aligned
_DTYPES = {name: np.dtype(name) for name in ("|u1", "|i1", "<u2", "<f2", "<u4", "<f4", "<i8", "<f8")}
_UNPACK_LIMITS = dict.fromkeys(("max_str_len", "max_bin_len", "max_array_len", "max_map_len"), VALUE_LIMIT)


def checksum(*parts: bytes | memoryview) -> bytes:
    """BLAKE2b of 16 bytes: a swapped, zeroed or truncated region changes it as surely as a flipped bit."""
    digest = hashlib.blake2b(digest_size=CHECKSUM_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of this name, if it is one that the formats use.

    Raises:
        CorruptionError: another dtype.
    """
    if name not in _DTYPES:
        raise CorruptionError(f"an array of unknown type {name!r}: the index is damaged, restore it or build it again")
    return _DTYPES[name]


def ends_of(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Offsets i64[n + 1] of n ranges that lie one after the other, from 0 on."""
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends


def check_ends(ends: NDArray[np.int64], count: int, last: int, where: str) -> None:
    """Make sure that i64[count + 1] offsets rise from 0 to `last`, so that no range lies outside what it points into.

    Raises:
        CorruptionError: they do not.
    """
    fits = ends.dtype == np.int64 and ends.shape == (count + 1,) and ends[0] == 0 and ends[-1] == last
    if not fits or bool((ends[1:] < ends[:-1]).any()):
        raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")


def pack_array(array: NDArray[Any], key: bytes) -> bytes:
    """An array of one or two dimensions as a blob: 64 bytes of header, then the values, little-endian, row by row.

    Args:
        array: its dtype is one of those that `dtype_of` knows.
        key: what the blob is stored under.

    Raises:
        StorageError: the values would take more than `ARRAY_LIMIT`.
    """
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.nbytes > ARRAY_LIMIT:
        raise StorageError(
            f"an array of {array.nbytes:,} bytes is over the {ARRAY_LIMIT:,} that one value may have: "
            f"build with a smaller segment_size, or give encodings in smaller batches"
        )
    rows, columns = array.shape if array.ndim == 2 else (len(array), 0)
    data = array.tobytes()
    fields = _ARRAY_FIELDS.pack(_ARRAY_MAGIC, array.dtype.str.encode(), array.ndim, rows, columns, checksum(data))
    return fields + checksum(key, fields) + data


def unpack_array(blob: memoryview, key: bytes, where: str, *, verify: bool = False) -> NDArray[Any]:
    """The array in a blob, as a read-only view where the blob is aligned, else as a copy.

    Args:
        blob: what `pack_array` made.
        key: what the blob was stored under.
        where: names the blob in an error.
        verify: also check the checksum over all values.

    Raises:
        CorruptionError: the blob is not what was written.
    """
    if len(blob) < _ARRAY_HEADER_BYTES:
        raise CorruptionError(f"{where} is {len(blob)} bytes long, too short: restore the index or build it again")
    fields = bytes(blob[: _ARRAY_FIELDS.size])
    magic, name, dimensions, rows, columns, digest = _ARRAY_FIELDS.unpack(fields)
    if magic != _ARRAY_MAGIC or checksum(key, fields) != bytes(blob[_ARRAY_FIELDS.size : _ARRAY_HEADER_BYTES]):
        raise CorruptionError(f"{where} does not begin as this array: restore the index or build it again")
    dtype = dtype_of(name.rstrip(b"\0").decode("ascii", "replace"))
    shape = (rows, columns) if dimensions == 2 else (rows,)
    data = blob[_ARRAY_HEADER_BYTES:]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise CorruptionError(
            f"{where} should hold {shape} of {dtype} and has {len(data)} bytes: restore the index or build it again"
        )
    if verify and checksum(data) != digest:
        raise CorruptionError(f"{where} does not match its checksum: restore the index or build it again")
    array = np.frombuffer(data, dtype).reshape(shape)
    if not array.flags.aligned:  # LMDB aligns large values only
        array = array.copy()
    array.flags.writeable = False
    return array


def pack_record(record: Any, key: bytes) -> bytes:  # noqa: ANN401 - msgpack takes any plain value
    """A plain value as checksum and msgpack, to be stored under `key`.

    Raises:
        StorageError: the record would be larger than `VALUE_LIMIT`.
    """
    data: bytes = msgpack.packb(record, use_bin_type=True)
    if len(data) > VALUE_LIMIT:
        raise StorageError(f"a record of {len(data):,} bytes is over the {VALUE_LIMIT:,} that one value may have")
    return checksum(key, data) + data


def rekeyed(blob: bytes | memoryview, key: bytes, new: bytes, where: str) -> bytes:
    """A record that was stored under `key` as it is stored under another, without unpacking it.

    Raises:
        CorruptionError: the checksum is wrong.
    """
    data = bytes(blob[CHECKSUM_BYTES:])
    if checksum(key, data) != bytes(blob[:CHECKSUM_BYTES]):
        raise CorruptionError(f"{where} does not match its checksum: restore the index or build it again")
    return checksum(new, data) + data


def unpack_record(blob: bytes | memoryview, key: bytes, where: str) -> Any:  # noqa: ANN401 - msgpack gives any plain value
    """The value that `pack_record` packed.

    Raises:
        CorruptionError: the checksum or the msgpack is wrong.
    """
    data = bytes(blob[CHECKSUM_BYTES:])
    if checksum(key, data) != bytes(blob[:CHECKSUM_BYTES]):
        raise CorruptionError(f"{where} does not match its checksum: restore the index or build it again")
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, **_UNPACK_LIMITS)
    except (ValueError, msgpack.UnpackException) as error:
        raise CorruptionError(f"{where} cannot be unpacked ({error}): restore the index or build it again") from error
