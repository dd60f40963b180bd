"""Binary layouts: how arrays and records become bytes, and bytes that were checked become arrays and records.

Owns the array blob, the record and the checksum; imports records' neighbours numpy and msgpack only. Invariant: nothing is
parsed before its checksum or its header was checked, and nothing is read outside the buffer.
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
"""Largest value in the store: LMDB holds a value in memory while it writes it."""

_ARRAY_MAGIC = b"M3ARRAY\x01"
_ARRAY_HEADER = struct.Struct(
    "<8s8sQQ16s16x"
)  # magic and version, dtype, rows, columns, checksum; 64 bytes keep data aligned
_DTYPES = {name: np.dtype(name) for name in ("|u1", "|i1", "<u2", "<f2", "<u4", "<f4", "<i8", "<f8")}
_UNPACK_LIMITS = {"max_str_len": VALUE_LIMIT, "max_bin_len": VALUE_LIMIT, "max_array_len": 2**24, "max_map_len": 2**20}


def checksum(data: bytes | memoryview) -> bytes:
    """BLAKE2b of 16 bytes: a swapped, zeroed or truncated region changes it as surely as a flipped bit."""
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest()


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of this name, if it is one that the formats use.

    Raises:
        CorruptionError: another dtype.
    """
    if name not in _DTYPES:
        raise CorruptionError(f"an array of unknown type {name!r}: the index is damaged, restore it or build it again")
    return _DTYPES[name]


def pack_array(array: NDArray[Any]) -> bytes:
    """An array of one or two dimensions as a blob: 64 bytes of header, then the values, little-endian, row by row.

    Raises:
        StorageError: the blob would be larger than `VALUE_LIMIT`.
    """
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.nbytes > VALUE_LIMIT:
        raise StorageError(
            f"an array of {array.nbytes:,} bytes is over the {VALUE_LIMIT:,} that one value may have: "
            f"build with a smaller segment_size"
        )
    rows, columns = array.shape if array.ndim == 2 else (len(array), 0)
    data = array.tobytes()
    name = array.dtype.str.encode()
    return _ARRAY_HEADER.pack(_ARRAY_MAGIC, name, rows, columns, checksum(name + data)) + data


def unpack_array(blob: memoryview, where: str, *, verify: bool = False) -> NDArray[Any]:
    """The array in a blob, as a read-only view where the blob is aligned, else as a copy.

    Args:
        blob: what `pack_array` made.
        where: names the blob in an error.
        verify: also check the checksum over all values.

    Raises:
        CorruptionError: the blob is not what was written.
    """
    if len(blob) < _ARRAY_HEADER.size:
        raise CorruptionError(f"{where} is {len(blob)} bytes long, too short: restore the index or build it again")
    magic, name, rows, columns, digest = _ARRAY_HEADER.unpack_from(blob)
    if magic != _ARRAY_MAGIC:
        raise CorruptionError(f"{where} does not begin as an array: restore the index or build it again")
    name = name.rstrip(b"\0")
    dtype = dtype_of(name.decode("ascii", "replace"))
    shape = (rows, columns) if columns else (rows,)
    data = blob[_ARRAY_HEADER.size :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise CorruptionError(f"{where} should hold {shape} of {dtype} and has {len(data)} bytes: restore the index")
    if verify and checksum(name + bytes(data)) != digest:
        raise CorruptionError(f"{where} does not match its checksum: restore the index or build it again")
    array = np.frombuffer(data, dtype).reshape(shape)
    if not array.flags.aligned:  # LMDB aligns large values only
        array = array.copy()
    array.flags.writeable = False
    return array


def pack_record(record: Any) -> bytes:  # noqa: ANN401 - msgpack takes any plain value
    """A plain value as checksum and msgpack.

    Raises:
        StorageError: the record would be larger than `VALUE_LIMIT`.
    """
    data: bytes = msgpack.packb(record, use_bin_type=True)
    if len(data) > VALUE_LIMIT:
        raise StorageError(f"a record of {len(data):,} bytes is over the {VALUE_LIMIT:,} that one value may have")
    return checksum(data) + data


def unpack_record(blob: bytes | memoryview, where: str) -> Any:  # noqa: ANN401 - msgpack gives any plain value
    """The value that `pack_record` packed.

    Raises:
        CorruptionError: the checksum or the msgpack is wrong.
    """
    data = bytes(blob[CHECKSUM_BYTES:])
    if checksum(data) != bytes(blob[:CHECKSUM_BYTES]):
        raise CorruptionError(f"{where} does not match its checksum: restore the index or build it again")
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, **_UNPACK_LIMITS)
    except (ValueError, msgpack.UnpackException) as error:
        raise CorruptionError(f"{where} cannot be unpacked ({error}): restore the index or build it again") from error
