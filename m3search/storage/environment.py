"""Environment: the LMDB store of an index, opened once in a process.

Owns transactions, sizes and LMDB's hazards; `keys` says what lies where. Imports errors and lmdb. Invariant:
a process holds one environment for a store, however often and through whatever path it is opened, and a forked child
uses none of its parent's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, Self

import lmdb

from m3search.errors import ClosedError, CorruptionError, IndexNotFoundError, StorageError
from m3search.storage.directory import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DATA_FILE = "data.mdb"
_MAP_SIZE = 2**30 if os.name == "nt" else 64 * 2**30  # Windows allocates the whole map on the disk, others a hole
_MAX_READERS = 1024
_META_PAGES = 2
_SMALLEST_PAGE = 4096

_open: dict[tuple[int, int], Environment] = {}
_open_lock = threading.Lock()


class Environment:
    """A reference-counted LMDB environment; get one with `Environment.open`."""

    def __init__(self, path: Path, key: tuple[int, int], env: Any, *, read_only: bool) -> None:  # noqa: ANN401 - lmdb is untyped
        self.path = path
        self.read_only = read_only
        self._key = key
        self._env = env
        self.pid = os.getpid()
        self.users = 0
        self._readers = 0

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Self:
        """The environment in a folder; `close` it once for every `open`.

        Raises:
            IndexNotFoundError: no store is there, and `create` is not set.
            CorruptionError: the store is shorter than it says; reading it would kill the process.
            StorageError: LMDB refuses it.
        """
        if create:
            path.mkdir(parents=True, exist_ok=True)
            sync_directory(path.parent)
        elif not (path / _DATA_FILE).is_file():
            raise IndexNotFoundError(f"{path.parent} holds no index: build one there, or name another path")
        status = path.stat()
        key = (status.st_dev, status.st_ino)
        with _open_lock:
            environment = _open.get(key)
            if environment is None or environment.pid != os.getpid():
                environment = cls._start(path, key)
                _open[key] = environment
            environment.users += 1
        return environment  # type: ignore[return-value] # the registry holds this class's

    @classmethod
    def _start(cls, path: Path, key: tuple[int, int]) -> Self:
        # a process that may write opens for writing at once: LMDB cannot open a second time when a writer comes later
        writable = os.access(path, os.W_OK) and (
            not (path / _DATA_FILE).exists() or os.access(path / _DATA_FILE, os.W_OK)
        )
        data = path / _DATA_FILE
        if data.exists() and data.stat().st_size < _META_PAGES * _SMALLEST_PAGE:
            raise CorruptionError(f"{data} is cut off: restore the index or build it again")
        try:
            env = lmdb.open(
                str(path),
                map_size=_MAP_SIZE,
                max_readers=_MAX_READERS,
                readonly=not writable,
                lock=writable,
                meminit=False,
                max_spare_txns=4,
            )
        except lmdb.Error as error:
            raise StorageError(f"cannot open the store {path}: {error}") from error
        environment = cls(path, key, env, read_only=not writable)
        try:
            environment._check_size()
        except BaseException:
            env.close()
            raise
        return environment

    def _check_size(self) -> None:
        # LMDB maps the file without looking at its length: a page past its end is a SIGBUS
        needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        found = (self.path / _DATA_FILE).stat().st_size
        if found < needed:
            raise CorruptionError(
                f"{self.path / _DATA_FILE} has {found:,} bytes, should have {needed:,}: it was cut off; "
                f"restore the index or build it again"
            )

    @property
    def env(self) -> Any:  # noqa: ANN401 - lmdb is untyped
        """LMDB's own object.

        Raises:
            ClosedError: closed, or inherited through a fork.
        """
        if self._env is None:
            raise ClosedError(f"the store {self.path} is closed: open the index again")
        if os.getpid() != self.pid:
            raise ClosedError(
                f"the store {self.path} was opened before this process was forked: open the index in the child, "
                f"or start children with the method 'spawn'"
            )
        return self._env

    def begin_read(self) -> Any:  # noqa: ANN401 - lmdb is untyped
        """A read transaction, which sees the last commit and keeps seeing it; its values are views into the map.

        It holds the environment open until `end_read`.
        """
        env = self.env
        try:
            try:
                transaction = env.begin(buffers=True)
            except lmdb.MapResizedError:
                env.set_mapsize(0)  # another process made it larger; 0 takes its size over
                transaction = env.begin(buffers=True)
        except lmdb.Error as error:
            raise StorageError(f"cannot read the store {self.path}: {error}") from error
        with _open_lock:
            self.users += 1
            self._readers += 1
        return transaction

    def end_read(self, transaction: Any) -> None:  # noqa: ANN401 - lmdb is untyped
        """End a read transaction, after the last use of its views."""
        if os.getpid() == self.pid:
            transaction.abort()
        with _open_lock:
            self._readers -= 1
        self.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[Any]:
        """A write transaction: committed and durable when the block ends, rolled back when it raises.

        Raises:
            StorageError: the disk is full or failing, or the map is.
        """
        self._grow()
        env = self.env
        try:
            with env.begin(write=True, buffers=True) as transaction:
                yield transaction
        except lmdb.MapFullError as error:
            raise StorageError(
                f"the store {self.path} has reached its map size: close this index's readers in this process, try again"
            ) from error
        except lmdb.Error as error:
            # a full disk comes as EIO here, with nothing of its own
            raise StorageError(
                f"cannot commit to {self.path}: {error}; see that the disk has space and works"
            ) from error

    def _grow(self) -> None:
        env = self.env
        info = env.info()
        used = (info["last_pgno"] + 1) * env.stat()["psize"]
        # the map moves when it grows, and takes the views of this process's snapshots with it
        if used > info["map_size"] // 2 and not self._readers:
            env.set_mapsize(info["map_size"] * 2)

    def info(self) -> dict[str, int]:
        """Bytes of the store: ``file``, ``map``, and ``used`` up to the last page."""
        info = self.env.info()
        page = self.env.stat()["psize"]
        return {
            "file": (self.path / _DATA_FILE).stat().st_size,
            "map": info["map_size"],
            "used": (info["last_pgno"] + 1) * page,
        }

    def copy(self, path: Path) -> None:
        """A consistent, compacted copy of the store in another folder."""
        path.mkdir(parents=True)
        try:
            self.env.copy(str(path), compact=True)
        except lmdb.Error as error:
            raise StorageError(f"cannot copy the store to {path}: {error}") from error
        with (path / _DATA_FILE).open("rb") as file:
            os.fsync(file.fileno())
        sync_directory(path)

    def close(self) -> None:
        """Give one `open` back; the last one closes LMDB."""
        with _open_lock:
            self.users -= 1
            if self.users == 0 and self._env is not None:
                if os.getpid() == self.pid:
                    self._env.close()
                self._env = None
                if _open.get(self._key) is self:
                    del _open[self._key]
