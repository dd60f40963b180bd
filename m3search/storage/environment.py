"""Environment: the LMDB store of an index, opened once in a process.

Owns transactions, sizes and LMDB's hazards; `keys` says what lies where. Imports errors and lmdb. Invariant:
a process holds one environment for a store, however often and through whatever path it is opened, and a forked child
uses none of its parent's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any, Self

import lmdb

from m3search.errors import ClosedError, CorruptionError, IndexNotFoundError, StorageError
from m3search.storage.directory import make_directory, reason, sync_directory
from m3search.storage.free_list import free_list

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA_FILE = "data.mdb"
"""LMDB's name for the file of data in a store's folder."""
_LOCK_FILE = "lock.mdb"
_MAP_SIZE = 2**30 if os.name == "nt" else 256 * 2**30  # Windows allocates the whole map on the disk, others a hole
_SMALLEST_MAP = 2**30
_MAP_TIMES = 1 if os.name == "nt" else 8  # of the file, where that is more
_MAX_READERS = 1024
_LOCK_BYTES = 64 * (_MAX_READERS + 2)  # LMDB 0.9 gives a reader a line of the cache, and its own fields two
_META_PAGES = 2
_SMALLEST_PAGE = 4096
_ROOM = 2**20

# the data file is the key: LMDB holds it open, so its number is not given to another file as a removed folder's is
_open: dict[tuple[int, int], Environment] = {}
_inherited: dict[tuple[int, int], Environment] = {}
_open_lock = threading.RLock()  # the garbage collector may end a snapshot wherever this thread stands


def _forget() -> None:
    """In a forked child: the parent's environments are not ours, and its locks may be held for ever.

    They are kept: LMDB must neither close them here nor open their files a second time.
    """
    global _open_lock
    _inherited.update(_open)
    _open.clear()
    _open_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Environment:
    """A reference-counted LMDB environment; get one with `Environment.open`.

    Attributes:
        path: the folder ``store``.
        read_only: the folder or its data cannot be written.
        key: the identity of its data file.
        locked: readers are registered, so that no writer reuses what they read; it takes write permission for ``lock.mdb``.
    """

    def __init__(self, path: Path, env: Any, *, read_only: bool, locked: bool) -> None:  # noqa: ANN401 - lmdb is untyped
        self.path = path
        self.read_only = read_only
        self.locked = locked
        self.pid = os.getpid()
        self.users = 0
        self.key = identity(path / DATA_FILE)
        self._env = env
        self._readers = 0

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Self:
        """The environment in a folder; `close` it once for every `open`.

        Raises:
            IndexNotFoundError: no store is there, and `create` is not set.
            CorruptionError: the store is shorter than it says; reading it would kill the process.
            ClosedError: it was open already when this process was forked.
            StorageError: the disk or LMDB refuses it.
        """
        if create:
            make_directory(path)
        try:
            return cls._shared(path, create=create)
        except FileNotFoundError as error:
            raise IndexNotFoundError(f"{path.parent} holds no index: build one there, or name another path") from error

    @classmethod
    def _shared(cls, path: Path, *, create: bool) -> Self:
        data = path / DATA_FILE
        if not create and not data.is_file():
            raise FileNotFoundError(data)
        with _open_lock:
            environment = None
            if data.is_file():
                if identity(data) in _inherited:
                    raise ClosedError(_forked(path))
                environment = _open.get(identity(data))
            if environment is not None:
                environment.users += 1
                if environment.closed:  # closed by the garbage collector in between
                    environment = None
            if environment is None:
                environment = cls._start(path, create=create)
                environment.users = 1
                _open[environment.key] = environment
        return environment  # type: ignore[return-value] # the registry holds this class's

    @classmethod
    def _start(cls, path: Path, *, create: bool) -> Self:
        data, lock = path / DATA_FILE, path / _LOCK_FILE
        size = data.stat().st_size if data.exists() else 0
        # a build that was killed at its first step leaves an empty file, which LMDB begins anew
        if size < _META_PAGES * _SMALLEST_PAGE and (size or not create):
            raise CorruptionError(f"{data} is cut off: restore the index or build it again")
        # a process that may write opens for writing at once: LMDB cannot open a second time when a writer comes later
        writable = os.access(path, os.W_OK) and (not data.exists() or os.access(data, os.W_OK))
        locked = writable or os.access(lock, os.W_OK)
        if writable:
            _reserve(lock)
        # a map cannot grow while this process reads, and costs nothing but addresses
        map_size = max(_MAP_SIZE, _MAP_TIMES * size)
        try:
            env = _open_lmdb(path, map_size, writable=writable, locked=locked)
        except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
            raise CorruptionError(f"{data} is damaged ({error}): restore the index or build it again") from error
        except lmdb.Error as error:
            raise StorageError(f"cannot open the store {path}: {error}") from error
        try:
            if not size:
                sync_directory(path)
            environment = cls(path, env, read_only=not writable, locked=locked)
            environment._check_size()
        except BaseException:
            env.close()
            raise
        return environment

    def _check_size(self) -> None:
        # LMDB maps the file without looking at its length: a page past its end is a SIGBUS
        needed = self._used()
        found = (self.path / DATA_FILE).stat().st_size
        if found < needed:
            raise CorruptionError(
                f"{self.path / DATA_FILE} has {found:,} bytes, should have {needed:,}: it was cut off; "
                f"restore the index or build it again"
            )

    def _used(self) -> int:
        """Bytes up to the last page."""
        pages: int = self._env.info()["last_pgno"] + 1
        return pages * int(self._env.stat()["psize"])

    @property
    def closed(self) -> bool:
        """Whether its last user has closed it."""
        return self._env is None

    @property
    def env(self) -> Any:  # noqa: ANN401 - lmdb is untyped
        """LMDB's own object.

        Raises:
            ClosedError: closed, or inherited through a fork.
        """
        if os.getpid() != self.pid:
            raise ClosedError(_forked(self.path))
        if self._env is None:
            raise ClosedError(f"the store {self.path} is closed: open the index again")
        return self._env

    # -- reading --

    def begin_read(self) -> Any:  # noqa: ANN401 - lmdb is untyped
        """A read transaction, which sees the last commit and keeps seeing it; its values are views into the map.

        It holds the environment open until `end_read`.
        """
        with _open_lock:
            try:
                transaction = self._begin(self.env)
            except lmdb.PanicError as error:
                raise StorageError(
                    f"the store {self.path} failed in the midst of a commit; what is open stays readable: "
                    f"close the index everywhere in this process, then open it again"
                ) from error
            except lmdb.Error as error:
                raise StorageError(f"cannot read the store {self.path}: {error}") from error
            self.users += 1
            self._readers += 1
        return transaction

    def _begin(self, env: Any) -> Any:  # noqa: ANN401 - lmdb is untyped
        try:
            return env.begin(buffers=True)
        except lmdb.MapResizedError as error:
            # another process made it larger; our map moves when it follows, and takes the views of our snapshots with it
            if self._readers:
                raise StorageError(
                    f"the store {self.path} has outgrown its map: close this index everywhere in this process, "
                    f"then open it again"
                ) from error
            env.set_mapsize(0)
        except lmdb.ReadersFullError:
            env.reader_check()  # killed processes hold places
        return env.begin(buffers=True)

    def end_read(self, transaction: Any) -> None:  # noqa: ANN401 - lmdb is untyped
        """End a read transaction, after the last use of its views."""
        with _open_lock:
            if os.getpid() == self.pid:
                transaction.abort()
            self._readers -= 1
            self.close()

    def check(self, transaction: Any) -> None:  # noqa: ANN401 - lmdb is untyped
        """Make sure that a read transaction can still be trusted.

        Raises:
            ClosedError: closed, or inherited through a fork.
            StorageError: it is not registered with writers, and one has committed since it began.
        """
        env = self.env
        if not self.locked and env.info()["last_txnid"] != transaction.id():
            raise StorageError(
                f"{self.path.parent} was changed while it was open here: open it again; it stays readable through changes "
                f"where {self.path / _LOCK_FILE} can be written"
            )

    @property
    def last_transaction(self) -> int:
        """The number of the last commit, of any process."""
        return int(self.env.info()["last_txnid"])

    def get(self, transaction: Any, key: bytes) -> memoryview | None:  # noqa: ANN401 - lmdb is untyped
        """The value of a key as a view that ends with its transaction, or None.

        Raises:
            CorruptionError: LMDB's pages are damaged on the way there.
        """
        try:
            value: memoryview | None = transaction.get(key)
        except lmdb.Error as error:
            raise self._damaged(error) from error
        return value

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        """A read transaction for the length of a block.

        Raises:
            CorruptionError: LMDB's pages are damaged.
        """
        transaction = self.begin_read()
        try:
            yield transaction
        except lmdb.Error as error:
            raise self._damaged(error) from error
        finally:
            self.end_read(transaction)

    def _damaged(self, error: Exception) -> CorruptionError:
        return CorruptionError(f"the store {self.path} is damaged ({error}): restore the index or build it again")

    # -- writing --

    @contextlib.contextmanager
    def write(self, *, deletes: bool = False, needed: int = 0) -> Iterator[Any]:
        """A write transaction: committed and durable when the block ends, rolled back when it raises.

        The caller holds the index's write lock.

        Args:
            deletes: keys are deleted in it, and few written.
            needed: bytes that will be written, for the message.

        Raises:
            StorageError: the disk is full or failing, or the map is; or the store cannot be written at all.
        """
        if self.read_only:
            raise StorageError(f"{self.path} cannot be written: make the folder writable and open the index again")
        self._grow()
        env = self.env
        try:
            env.reader_check()  # killed readers keep pages from being used again
            with env.begin(write=True, buffers=True) as transaction:
                yield transaction
                if deletes:
                    self._lengthen()
        except lmdb.MapFullError as error:
            raise StorageError(
                f"the store {self.path} has reached its map size: close this index's readers in this process, try again"
            ) from error
        except lmdb.Error as error:
            # a full disk comes as EIO here, with nothing of its own
            free = shutil.disk_usage(self.path).free
            were = f"{needed:,} bytes were to be written, " if needed else ""
            raise StorageError(
                f"cannot commit to {self.path}: {error}; see that the disk has space and works: {were}{free:,} bytes are free"
            ) from error
        finally:
            if deletes:
                self._shorten()

    def check_room(self, needed: int) -> None:
        """Make sure that the disk may have room for so many bytes more, as far as that can be told beforehand.

        Raises:
            StorageError: it has not, even if all free pages could be used again.
        """
        free = shutil.disk_usage(self.path).free
        info = self.info()
        if needed > free + info["file"] - info["live"]:
            raise StorageError(
                f"cannot commit to {self.path}: the disk is full, {needed:,} bytes are needed and {free:,} are free; "
                f"make room and try again"
            )

    def _lengthen(self) -> None:
        """Make the file as long as its last page can say after this transaction, with a hole.

        LMDB does not write a page that a transaction took and gave back. Where such pages end the file, it is shorter than
        its last page says and looks cut off. A transaction that deletes copies a page once at most.
        """
        if os.name == "nt":  # as long as the map already
            return
        data = self.path / DATA_FILE
        length = 2 * self._used() + self._used() // 64 + _ROOM
        try:
            if data.stat().st_size < length:
                os.truncate(data, length)
        except OSError as error:
            raise StorageError(
                f"cannot commit to {self.path}: {error.strerror}; see that the disk has space"
            ) from error

    def _shorten(self) -> None:
        if os.name != "nt" and self._env is not None:
            with contextlib.suppress(OSError):  # it is only longer than it need be
                os.truncate(self.path / DATA_FILE, self._used())

    def _grow(self) -> None:
        with _open_lock:
            env = self.env
            size = env.info()["map_size"]
            # the map moves when it grows, and takes the views of this process's snapshots with it
            if self._used() > size // 2 and not self._readers:
                env.set_mapsize(size * 2)

    def info(self) -> dict[str, int]:
        """Bytes of the store: ``file``, ``map``, ``used`` up to the last page, and ``live`` in the pages of its keys."""
        size, pages = self.env.info()["map_size"], self.env.stat()
        live = (pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]) * pages["psize"]
        file = self._used()
        with contextlib.suppress(FileNotFoundError):  # another store has taken its place
            file = (self.path / DATA_FILE).stat().st_size
        return {"file": file, "map": size, "used": self._used(), "live": live}

    def readers(self) -> dict[str, int]:
        """Read transactions of all processes: their number, and how many commits the oldest is behind."""
        last, reading = int(self.env.info()["last_txnid"]), self._reading()
        return {"count": len(reading), "behind": max(last - min(reading, default=last), 0)}

    def pinned(self) -> int | None:
        """Bytes of free pages that no commit can use again before the oldest reader ends; None where that cannot be known.

        A commit frees the pages that it replaces. LMDB uses them again when all readers began after it; what it freed before
        the oldest reader began is not pinned.
        """
        with self.read() as transaction:
            last, oldest = int(transaction.id()), min(self._reading(), default=0)
            if not 0 < oldest < last:
                return 0
            try:
                free = free_list(self.path / DATA_FILE, last)
            except FileNotFoundError:  # another store has taken its place
                free = None
        return None if free is None else free.pinned(oldest)

    def _reading(self) -> list[int]:
        """Of every read transaction of all processes, the commit that it sees."""
        seen = (line.split()[-1] for line in str(self.env.readers()).splitlines()[1:])
        return [int(number) for number in seen if number.isdigit()]

    def close(self) -> None:
        """Give one `open` back; the last one closes LMDB."""
        with _open_lock:
            self.users -= 1
            if self.users == 0 and self._env is not None and os.getpid() == self.pid:
                self._env.close()
                self._env = None
                if _open.get(self.key) is self:
                    del _open[self.key]


def _open_lmdb(path: Path, map_size: int, *, writable: bool, locked: bool) -> Any:  # noqa: ANN401 - lmdb is untyped
    while True:
        try:
            return lmdb.open(
                str(path),
                map_size=map_size,
                max_readers=_MAX_READERS,
                create=False,  # of the folder: it was made before, or has just gone
                readonly=not writable,
                lock=locked,
                meminit=False,
                max_spare_txns=4,
            )
        except (
            lmdb.MemoryError
        ):  # this process may have so many addresses only; LMDB takes what the file needs at least
            if map_size <= _SMALLEST_MAP:
                raise
            map_size //= 4


def _reserve(lock: Path) -> None:
    """Take the disk that LMDB's table of readers needs: it is mapped and written, which on a full disk is a SIGBUS.

    No environment of this process has it open: to close another descriptor of it would give up LMDB's locks.

    Raises:
        StorageError: the disk is full or failing.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            status = os.fstat(descriptor)
            if status.st_size < _LOCK_BYTES or status.st_blocks * 512 < _LOCK_BYTES:
                os.posix_fallocate(descriptor, 0, _LOCK_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"cannot open the store {lock.parent}: {reason(error, lock.parent, _LOCK_BYTES)}; make room and try again"
        ) from error


def _forked(path: Path) -> str:
    return (
        f"the store {path} was open when this process was forked, and LMDB cannot be used across a fork: "
        f"start processes with the method 'spawn', or open the index after the fork only"
    )


def identity(data: Path) -> tuple[int, int]:
    """What tells a file of data from every other: device and number."""
    status = data.stat()
    return status.st_dev, status.st_ino
