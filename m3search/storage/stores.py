"""Stores: which folder of an index is its store, and how another one takes its place.

An index begins with the store in ``store``. LMDB's file never shrinks, so compacting writes another one beside it
(`compaction.py`), and renaming its folder to ``store-1``, then ``store-2`` and so on, is the one step that puts it in the
place of the one before: of several the highest is the store. A store has a folder of its own, and not only a file, because
LMDB's table of readers belongs to one file of data: who reads the old store and who reads the new one must not meet in it.

Imports the environment and snapshots. Invariant: a store that has a successor is never written again, and goes whole: its
folder loses its name before anything in it is removed, so that nobody opens a part of it.
"""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from m3search.errors import InputError, StorageError
from m3search.storage.directory import sync_directory
from m3search.storage.environment import DATA_FILE, Environment, identity
from m3search.storage.snapshot import Snapshot

_FIRST = "store"
_NAME = re.compile(r"store(?:-([1-9][0-9]{0,17}))?")
_LEFT = re.compile(r"store(?:-[1-9][0-9]{0,17})?\.(?:part|gone)")
_PART, _GONE = ".part", ".gone"
_ATTEMPTS = 5


def store_of(path: Path) -> Path:
    """The folder of an index's store; where there is none yet, where the first will be."""
    there = _stores(path)
    return path / (there[max(there)] if there else _FIRST)


def index_folder(path: str | Path) -> Path:
    """A path at which an index may be, or come to be.

    Raises:
        InputError: no folder can have this name.
    """
    folder = Path(path)
    try:
        folder.lstat()
    except ValueError as error:
        raise InputError(
            f"{str(path)!r} has a character of code 0, which no folder's name has: name another"
        ) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{str(path)[:60]}... is too long for a path here: name a shorter one") from error
    return folder


def holds_index(path: Path) -> bool:
    """Whether a folder has a store."""
    return (store_of(path) / DATA_FILE).is_file()


def part_of_next(path: Path) -> Path:
    """Where the store's successor is written, until `put_in_place` gives it its name."""
    return path / f"{_successor(store_of(path)).name}{_PART}"


def put_in_place(part: Path) -> Path:
    """Make a store that is whole and on the disk that of its index, durably; its folder.

    Raises:
        OSError: the disk refuses it; which of the two is the store is then unknown.
    """
    folder = part.with_name(part.name.removesuffix(_PART))
    part.rename(folder)
    sync_directory(folder.parent)
    return folder


def remove_old_stores(path: Path) -> None:
    """Remove the stores that have successors, and what was left of others, as far as the system will.

    A store stays while an older one does: who has the older one open sees by its successor that there is a newer one.
    """
    names = [entry.name for entry in path.iterdir() if _LEFT.fullmatch(entry.name)] if path.is_dir() else []
    there = _stores(path)
    for number in sorted(there)[:-1]:
        gone = f"{there[number]}{_GONE}"
        try:
            (path / there[number]).rename(path / gone)
        except OSError:  # on Windows while somebody has it open; the next writer tries again
            break
        names.append(gone)
    for name in names:  # what comes back after a crash goes again
        shutil.rmtree(path / name, ignore_errors=True)


def is_of_store(name: str) -> bool:
    """Whether an entry of an index's folder is a store, or what was left of one."""
    return bool(_NAME.fullmatch(name) or _LEFT.fullmatch(name))


def is_current(environment: Environment) -> bool:
    """Whether an open store is that of its index still; takes two looks at the disk."""
    folder = environment.path
    try:
        return identity(folder / DATA_FILE) == environment.key and not _successor(folder).exists()
    except FileNotFoundError:
        return False


def open_store(path: Path) -> Environment:
    """The environment of an index's store; `Environment.close` it once for every call.

    Raises:
        IndexNotFoundError: there is none.
        CorruptionError: it is damaged.
        StorageError: the disk or LMDB refuses it.
    """
    for _ in range(_ATTEMPTS):
        folder = store_of(path)
        try:
            return Environment.open(folder)
        except StorageError:
            if store_of(path) == folder:  # else a writer has just put another one in its place
                raise
    return Environment.open(store_of(path))


def open_latest(path: Path, *, verify: bool = False) -> tuple[Environment, Snapshot]:
    """The store of an index and its last generation.

    Args:
        path: of the index.
        verify: check every byte but those of documents.

    Raises:
        IndexNotFoundError: nothing was ever published here.
        IndexFormatError: a newer version wrote it.
        CorruptionError: it is damaged.
        StorageError: the disk or LMDB refuses it.
    """
    while True:
        environment = open_store(path)
        try:
            return environment, Snapshot.latest(environment, path, verify=verify)
        except BaseException as error:
            stale = isinstance(error, StorageError) and not is_current(environment)
            environment.close()
            if not stale:  # else what was looked for went with the store that this one was
                raise


def _stores(path: Path) -> dict[int, str]:
    """Number -> name of the folders that are stores."""
    found = [_NAME.fullmatch(entry.name) for entry in path.iterdir()] if path.is_dir() else []
    return {int(one[1] or 0): one[0] for one in found if one is not None}


def _successor(folder: Path) -> Path:
    found = _NAME.fullmatch(folder.name)
    return folder.with_name(f"{_FIRST}-{int(found[1] or 0) + 1 if found else 1}")
