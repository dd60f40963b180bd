"""Directory: the segment files of an index, each written once, then only read.

Owns every byte that is not in LMDB; imports errors only. Invariant: a file has its final name only when all of it is on
the disk, and it never changes after that.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Self

from m3search.errors import CorruptionError, StorageError
from m3search.storage.codec import CHECKSUM_BYTES

_TEMPORARY = ".part"


class Directory:
    """The folder ``segments/``: create, map, list and remove write-once files.

    Attributes:
        failed: bringing a file to the disk has failed; what the system still holds of it is unknown, and it is not tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False

    def create(self, name: str) -> FileWriter:
        """A new file under a temporary name; `FileWriter.publish` gives it its own.

        Raises:
            StorageError: the disk refuses it.
        """
        make_directory(self.path)
        try:
            return FileWriter(self, name)
        except OSError as error:
            raise StorageError(f"cannot write {self.path / name}: {reason(error, self.path)}") from error

    def map(self, name: str, size: int) -> memoryview:
        """A published file as read-only memory.

        Raises:
            FileNotFoundError: it is gone; a reader then looks for a newer manifest.
            CorruptionError: it is not `size` bytes long.
            StorageError: it cannot be opened or mapped.
        """
        path = self.path / name
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    raise CorruptionError(
                        f"{path} has {found:,} bytes, should have {size:,}: restore the index or build it again"
                    )
                # the mapping outlives the descriptor and ends with its last view
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    def names(self) -> list[str]:
        """All files, unfinished ones too, sorted."""
        return sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []

    def remove(self, name: str) -> bool:
        """Remove a file that no generation names; False where the system will not: on Windows while somebody maps it."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError:
            return False
        return True


class FileWriter:
    """One file on its way: append, then publish or discard."""

    def __init__(self, directory: Directory, name: str) -> None:
        self.path = path = directory.path / name
        self.size = 0
        self._directory = directory
        self._part = path.with_name(path.name + _TEMPORARY)
        self._file: BinaryIO | None = self._part.open("xb")
        self._hash = hashlib.blake2b(digest_size=CHECKSUM_BYTES)

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            StorageError: the disk is full or failing; the file is to be discarded.
        """
        if self._file is None:
            raise StorageError(f"{self.path} is closed")
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {reason(error, self.path.parent, len(data))}; make room and try again"
            ) from error
        self._hash.update(data)
        self.size += len(data)

    def publish(self) -> tuple[int, bytes]:
        """Bring the file to the disk under its own name: (size, checksum).

        Raises:
            StorageError: the disk is full or failing; a failed fsync is never tried again.
        """
        if self._file is None:
            raise StorageError(f"{self.path} is closed")
        try:
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {reason(error, self.path.parent)}; make room and try again"
            ) from error
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self._part.rename(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            self._directory.failed = True
            raise StorageError(f"cannot bring {self.path} to the disk: {error.strerror}") from error
        return self.size, self._hash.digest()

    def discard(self) -> None:
        """Forget the file, if it was not published."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing writes what is buffered, which a full disk refuses again
                self._file.close()
            self._file = None
            with contextlib.suppress(OSError):  # the next writer removes it
                self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()


def reason(error: OSError, path: Path, needed: int = 0) -> str:
    """What the system says; of a full disk also how much more was to be written at `path`, and how much is free there."""
    said = error.strerror or str(error)
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return said
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path).free
        return (
            f"{said}: {needed:,} bytes more are needed, {free:,} are free"
            if needed
            else f"{said}: {free:,} bytes are free"
        )
    return said


def make_directory(path: Path) -> None:
    """Make a folder with its parents, durably, if it is not there.

    Raises:
        StorageError: the disk refuses it.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            sync_directory(folder.parent)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Make renames and new files in a folder durable; Windows does that by itself and cannot open a folder."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
