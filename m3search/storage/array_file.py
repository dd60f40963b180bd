"""ArrayFile: the one layout of segment files, named arrays one after the other.

    magic, version, checksum (64 bytes) | array | array ... | table of contents (record) | its length, magic (8 + 8 bytes)

The first array is appended to while encoding goes on, so a segment's vectors are never all in memory; its length is known
when the file ends, which is why the table stands there. Imports the directory and the codec. Invariant: arrays begin at
multiples of 64 bytes, and a reader never looks outside the file.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError, IndexFormatError
from m3search.storage.codec import CHECKSUM_BYTES, checksum, dtype_of, pack_record, unpack_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.directory import Directory, FileWriter

_MAGIC = b"M3FILE\0\0"
_VERSION = 1
_FIELDS = struct.Struct("<8sI36x")
_HEADER_BYTES = _FIELDS.size + CHECKSUM_BYTES
_TRAILER = struct.Struct("<Q8s")
_ALIGNMENT = 64


class ArrayFileWriter:
    """Arrays on their way into a file: `begin` starts one, `append` grows it."""

    def __init__(self, directory: Directory, name: str) -> None:
        self._name = name
        self._file: FileWriter = directory.create(name)
        self._table: list[list[Any]] = []
        fields = _FIELDS.pack(_MAGIC, _VERSION)
        try:
            self._file.write(fields + checksum(fields))
        except BaseException:
            self._file.discard()
            raise

    def begin(self, name: str, dtype: str, columns: int | None = None) -> None:
        """Start an array of two dimensions, or of one where `columns` is None."""
        self._file.write(bytes(-self._file.size % _ALIGNMENT))
        self._table.append([name, dtype, 0, columns, self._file.size])

    def append(self, rows: NDArray[Any]) -> None:
        """More rows of the current array."""
        entry = self._table[-1]
        array = np.ascontiguousarray(rows, dtype_of(entry[1]))
        if array.size:
            self._file.write(array.reshape(-1).view(np.uint8).data)
        entry[2] += len(array)

    def publish(self) -> tuple[int, bytes]:
        """Finish and publish the file: (size, checksum)."""
        table = pack_record(self._table, self._name.encode())
        self._file.write(table)
        self._file.write(_TRAILER.pack(len(table), _MAGIC))
        return self._file.publish()

    def discard(self) -> None:
        """Forget the file, if it was not published."""
        self._file.discard()


def read_arrays(data: memoryview, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a mapped file, as read-only views.

    Args:
        data: the whole file.
        name: what the file was written as.

    Raises:
        CorruptionError: the bytes are not what was written.
        IndexFormatError: the file is of a newer version.
    """
    if len(data) < _HEADER_BYTES + _TRAILER.size:
        raise CorruptionError(f"{name} is too short: restore the index or build it again")
    fields = bytes(data[: _FIELDS.size])
    magic, version = _FIELDS.unpack(fields)
    if magic != _MAGIC or checksum(fields) != bytes(data[_FIELDS.size : _HEADER_BYTES]):
        raise CorruptionError(f"{name} does not begin as a segment file: restore the index or build it again")
    if version > _VERSION:
        raise IndexFormatError(f"{name} is of format {version}, this m3search reads up to {_VERSION}: upgrade m3search")
    length, end = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    if end != _MAGIC or length > len(data) - _HEADER_BYTES - _TRAILER.size:
        raise CorruptionError(f"{name} does not end as a segment file: restore the index or build it again")
    start = len(data) - _TRAILER.size - length
    arrays = {}
    table = unpack_record(data[start : start + length], name.encode(), f"the table of {name}")
    for array, dtype_name, rows, columns, offset in table:
        dtype = dtype_of(dtype_name)
        shape = (rows,) if columns is None else (rows, columns)
        stop = offset + math.prod(shape) * dtype.itemsize
        if not _HEADER_BYTES <= offset <= stop <= start:
            raise CorruptionError(f"array {array!r} lies outside {name}: restore the index or build it again")
        arrays[array] = np.frombuffer(data[offset:stop], dtype).reshape(shape)
    return arrays
