"""Compaction: the store is written anew without what it no longer uses, and the new one takes its place.

LMDB uses the pages that a commit frees again, and never gives them back: a store keeps the size that it once had, which a
reader that stands still for long makes large. Imports the rest of storage. Invariant: until the new store is whole, on the
disk and opened once, the old one is the store; every key has the value that it had, and readers notice nothing until they
are refreshed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3search.errors import CorruptionError, StorageError
from m3search.storage.environment import Environment
from m3search.storage.snapshot import Snapshot
from m3search.storage.stores import part_of_next, put_in_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from m3search.storage.index_writer import IndexWriter

_BYTES_A_TRANSACTION = 64 * 2**20
_ROOM = 2**18


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting did.

    Attributes:
        before: bytes of the store's file.
        after: likewise; the difference is given back when the last reader of the old store is refreshed or ends.
    """

    before: int
    after: int


def compact(writer: IndexWriter, progress: Callable[[int], None] = lambda _: None) -> Compacted:
    """Write the store anew and put it in the place of the old one.

    Args:
        writer: of the index.
        progress: called with the number of keys that were just copied.

    Raises:
        CorruptionError: the store is damaged; it stays as it is.
        StorageError: the disk has no room for the new store beside the old one, or is failing; the old one stays.
    """
    writer.check()
    writer.collect()
    sizes = writer.environment.info()
    _check_room(writer.path, sizes["live"] + sizes["live"] // 32 + _ROOM)
    part = part_of_next(writer.path)
    try:
        after = _copied(writer, part, progress)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    try:
        folder = put_in_place(part)
    except OSError as error:
        writer.fail()
        raise StorageError(
            f"cannot put {part} in the place of the old store: {error.strerror}; close this writer and open the index again"
        ) from error
    writer.take_store(folder)
    return Compacted(sizes["file"], after)


def keys_of(writer: IndexWriter) -> int:
    """How many keys there are to copy."""
    with writer.environment.read() as transaction:
        return int(transaction.stat()["entries"])


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed:
        raise StorageError(
            f"cannot compact {path}: the new store is written beside the old one, about {needed:,} bytes are needed and "
            f"{free:,} are free; make room and try again"
        )


def _copied(writer: IndexWriter, part: Path, progress: Callable[[int], None]) -> int:
    """Bytes of the new store, once it was written and looked at."""
    fresh = Environment.open(part, create=True)
    try:
        with writer.environment.read() as reading, reading.cursor() as cursor:
            entries, copied = int(reading.stat()["entries"]), 0
            for batch, size in _batches(cursor):
                fresh.check_room(size)
                with fresh.write(needed=size) as writing:
                    for key, value in batch:
                        writing.put(key, value, append=True)
                copied += len(batch)
                progress(len(batch))
        with fresh.read() as transaction:
            found = int(transaction.stat()["entries"])
        if not copied == found == entries:
            raise CorruptionError(
                f"the store of {writer.path} says that it has {entries:,} keys and has {copied:,}: check the index"
            )
        Snapshot.latest(fresh, writer.path).release()
        return fresh.info()["file"]
    finally:
        fresh.close()


def _batches(
    items: Iterable[tuple[memoryview, memoryview]],
) -> Iterator[tuple[list[tuple[memoryview, memoryview]], int]]:
    """Items a transaction at a time, and how many bytes they have."""
    batch: list[tuple[memoryview, memoryview]] = []
    size = 0
    for key, value in items:
        batch.append((key, value))
        size += len(key) + len(value)
        if size >= _BYTES_A_TRANSACTION:
            yield batch, size
            batch, size = [], 0
    if batch:
        yield batch, size
