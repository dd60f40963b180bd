"""ArrayFile: the one layout of segment files, named arrays one after the other.

    magic and version (64 bytes) | array | array ... | table of contents (record) | its length (8 bytes), magic (8 bytes)

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
from m3search.storage.codec import dtype_of, pack_record, unpack_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.directory import Directory, FileWriter

_MAGIC = b"M3FILE\0\0"
_VERSION = 1
_HEADER = struct.Struct("<8sI52x")
_TRAILER = struct.Struct("<Q8s")
_ALIGNMENT = 64


class ArrayFileWriter:
    """Arrays on their way into a file: `append` grows the current one, `begin` starts the next."""

    def __init__(self, directory: Directory, name: str) -> None:
        self._file: FileWriter = directory.create(name)
        self._file.write(_HEADER.pack(_MAGIC, _VERSION))
        self._table: list[list[Any]] = []

    def begin(self, name: str, dtype: str, columns: int) -> None:
        """Start an array: f32[rows, columns], or of one dimension where `columns` is 0."""
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
        table = pack_record(self._table)
        self._file.write(table)
        self._file.write(_TRAILER.pack(len(table), _MAGIC))
        return self._file.publish()

    def discard(self) -> None:
        """Forget the file, if it was not published."""
        self._file.discard()


def read_arrays(data: memoryview, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of a mapped file, as read-only views.

    Raises:
        CorruptionError: the bytes are not what was written.
        IndexFormatError: the file is of a newer version.
    """
    if len(data) < _HEADER.size + _TRAILER.size:
        raise CorruptionError(f"{where} is too short: restore the index or build it again")
    magic, version = _HEADER.unpack_from(data)
    length, end = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    if magic != _MAGIC or end != _MAGIC or length > len(data) - _HEADER.size - _TRAILER.size:
        raise CorruptionError(f"{where} is not a segment file, or damaged: restore the index or build it again")
    if version > _VERSION:
        raise IndexFormatError(
            f"{where} is of format {version}, this m3search reads up to {_VERSION}: upgrade m3search"
        )
    start = len(data) - _TRAILER.size - length
    arrays = {}
    for name, dtype_name, rows, columns, offset in unpack_record(data[start : start + length], f"the table of {where}"):
        dtype = dtype_of(dtype_name)
        shape = (rows, columns) if columns else (rows,)
        stop = offset + math.prod(shape) * dtype.itemsize
        if not _HEADER.size <= offset <= stop <= start:
            raise CorruptionError(f"array {name!r} lies outside {where}: restore the index or build it again")
        arrays[name] = np.frombuffer(data[offset:stop], dtype).reshape(shape)
    return arrays
