"""WriteLock: one process writes an index at a time, and a second one is told which.

Imports errors and filelock. Invariant: the system releases a dead holder's lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from typing import TYPE_CHECKING

import filelock

from m3search.errors import LockedError, StorageError
from m3search.storage.directory import make_directory

if TYPE_CHECKING:
    from pathlib import Path

LOCK, HOLDER = "write.lock", "write.holder"
"""Files in the folder of an index: the lock, and as JSON who holds it."""


class WriteLock:
    """The lock of an index; any thread may release it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = filelock.FileLock(path / LOCK, thread_local=False)

    def acquire(self, *, create: bool) -> None:
        """Take the lock at once.

        Args:
            create: make the folder, if it is not there.

        Raises:
            LockedError: another writer holds it.
            StorageError: the folder cannot be written.
        """
        try:
            if create:
                make_directory(self._path)
            self._lock.acquire(timeout=0)
            self._say_who()
        except filelock.Timeout as error:
            raise LockedError(f"{self._path} is being written by {self._holder()}: wait for it, or end it") from error
        except OSError as error:
            self._lock.release()
            raise StorageError(
                f"cannot write to {self._path}: {error.strerror}; name a path that can be written"
            ) from error

    def _say_who(self) -> None:
        try:
            (self._path / HOLDER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:  # it is held, and what frees the disk may begin
                raise

    def _holder(self) -> str:
        try:
            holder = json.loads((self._path / HOLDER).read_text())
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def release(self) -> None:
        """Give it back; releasing twice does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # the next writer writes its own
                (self._path / HOLDER).unlink(missing_ok=True)
        self._lock.release()
