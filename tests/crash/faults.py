"""A twin of the directory's system calls that fails at one of them: what a full or failing disk does to our own files.

LMDB's calls are its own: `test_system_calls.py` has these.
"""

import contextlib
import errno
import os
import signal
import types
from pathlib import Path

from m3search.storage import directory, stores

ERRORS = {"full": errno.ENOSPC, "failing": errno.EIO}


class Faults:
    """Counts the calls that write, sync and rename files and folders; at the one at `point` it fails, or is killed.

    Attributes:
        seen: names of the calls so far.
    """

    def __init__(self, point=None, kind="failing"):
        self.point, self.kind = point, kind
        self.seen = []

    def strike(self, name, path):
        """Note a call; raise if it is the one that fails."""
        self.seen.append(name)
        if len(self.seen) - 1 == self.point:
            if self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            number = ERRORS.get(self.kind, errno.ENOSPC)
            raise OSError(number, os.strerror(number), str(path))


class FaultyFile:
    """A file whose writes may fail; with the kind "short" half of the bytes reach it first."""

    def __init__(self, file, faults):
        self._file, self._faults = file, faults

    def write(self, data):
        try:
            self._faults.strike("write", self._file.name)
        except OSError:
            if self._faults.kind == "short":
                self._file.write(memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2])
            raise
        return self._file.write(data)

    def flush(self):
        self._faults.strike("flush", self._file.name)
        self._file.flush()

    def fileno(self):
        return self._file.fileno()

    def close(self):
        self._file.close()


class FaultySystem:
    """Stands for `os` in the directory module."""

    def __init__(self, faults):
        self._faults = faults

    def fsync(self, descriptor):
        self._faults.strike("fsync", descriptor)
        os.fsync(descriptor)

    def __getattr__(self, name):
        return getattr(os, name)


@contextlib.contextmanager
def faulty(faults):
    """The directory module with these faults for the length of a block."""
    open_, rename = Path.open, Path.rename

    def opened(path, mode="r", *rest, **more):
        if not (mode == "xb" and path.name.endswith(".part")):
            return open_(path, mode, *rest, **more)
        faults.strike("create", path)
        return FaultyFile(open_(path, mode), faults)

    def renamed(path, target):
        if path.name.endswith(".part") or Path(target).name.endswith(".gone"):
            faults.strike("rename", path)
        return rename(path, target)

    def removed(path, missing_ok=False):
        faults.strike("unlink", path)
        return unlink(path, missing_ok=missing_ok)

    def removed_tree(path, ignore_errors=False):
        faults.strike("rmtree", path)
        return shutil_.rmtree(path, ignore_errors=ignore_errors)

    system, unlink, shutil_ = directory.os, Path.unlink, stores.shutil
    directory.os, Path.open, Path.rename = FaultySystem(faults), opened, renamed
    if faults.kind == "kill":  # what goes wrong in removing is no failure, and is tried again
        Path.unlink, stores.shutil = removed, types.SimpleNamespace(rmtree=removed_tree)
    try:
        yield faults
    finally:
        directory.os, Path.open, Path.rename, Path.unlink, stores.shutil = system, open_, rename, unlink, shutil_
