"""IndexWriter: the one process that may change an index, and the commit protocol.

Owns the transactions, the stage of a build and its publication; imports the rest of storage; `Changes` makes the next
generation of an index that is served. Invariant: the manifest in the store names only what is on the disk, and a crash leaves
the old generation or the new one, plus garbage that the next writer removes.

A build commits each segment under the record "building", and before that what it encodes in its journal (`journal.py`);
`publish` turns the record into the manifest in one transaction.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from m3search.errors import CorruptionError, IndexExistsError, StorageError
from m3search.storage.changes import Changes
from m3search.storage.directory import Directory
from m3search.storage.environment import DATA_FILE, Environment
from m3search.storage.garbage import remove_garbage
from m3search.storage.journal import Journal, JournalRecord
from m3search.storage.keys import BUILDING_KEY, JOURNAL_KEY, MANIFEST_KEY
from m3search.storage.manifest import IndexConfig, Manifest
from m3search.storage.segment_writer import SealedSegment, SegmentWriter
from m3search.storage.stores import holds_index, is_of_store, remove_old_stores, store_of
from m3search.storage.write_lock import HOLDER, LOCK, WriteLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SEGMENTS = "segments"


class IndexWriter:
    """Changes an index; everything it acknowledges is durable.

    Attributes:
        threads: of what is made of a segment at its end; None: as many as OpenMP takes.
        discarded: documents of an interrupted build whose stage was discarded by `for_build`.
    """

    def __init__(self, path: Path, *, create: bool = False, replace_damaged: bool = False) -> None:
        self.path = path
        self.directory = Directory(path / _SEGMENTS)
        self.threads: int | None = None
        self.discarded = 0
        self._failed = False
        self._kept: set[str] = set()
        self._lock = WriteLock(path)
        self._lock.acquire(create=create)
        try:
            self.environment = self._open_store(create=create, replace_damaged=replace_damaged)
        except BaseException:
            self._lock.release()
            raise

    def _open_store(self, *, create: bool, replace_damaged: bool) -> Environment:
        store = store_of(self.path)
        try:
            return Environment.open(store, create=create)
        except CorruptionError:
            if not replace_damaged:
                raise
            shutil.rmtree(store, ignore_errors=True)
            return Environment.open(store, create=True)

    @classmethod
    def for_build(cls, path: Path, *, overwrite: bool, resume: bool = False) -> Self:
        """A writer with an empty stage; what is served at `path` stays served until `publish`.

        Args:
            path: the folder.
            overwrite: whether what is served may be replaced.
            resume: leave the stage of a build that was interrupted, for `Journal.left`.

        Raises:
            IndexExistsError: an index is there and `overwrite` is not set, or something else is there.
            IndexFormatError: an index of a newer version is there.
            CorruptionError: a damaged index is there and `overwrite` is not set.
            LockedError: another writer holds it.
            StorageError: the folder cannot be written, or the disk is full or failing.
        """
        if path.exists() and not path.is_dir():
            raise IndexExistsError(f"{path} is a file: name a folder for the index")
        if _is_foreign(path, overwrite=overwrite):
            raise IndexExistsError(f"{path} is no index and not empty: name another folder")
        writer = cls(path, create=True, replace_damaged=overwrite and not resume)
        try:
            if writer._served(overwrite=overwrite) and not overwrite:
                raise IndexExistsError(
                    f"{path} holds an index already: pass overwrite=True to replace it, or name another path"
                )
            if resume and writer.journal_record() is not None:
                writer.collect()
            else:
                with contextlib.suppress(StorageError):  # what cannot be read goes all the same
                    record = writer.journal_record()
                    writer.discarded = 0 if record is None else record.documents
                writer.discard_stage()
        except BaseException:
            writer.close()
            raise
        return writer

    # -- state --

    def manifest(self, key: bytes = MANIFEST_KEY) -> Manifest | None:
        """The published manifest, or the stage's with `BUILDING_KEY`; None where there is none."""
        with self.environment.read() as transaction:
            blob = transaction.get(key)
            return None if blob is None else Manifest.unpack(bytes(blob), key, f"the manifest of {self.path}")

    def journal_record(self) -> JournalRecord | None:
        """What was committed of a build's journal; None where there is none."""
        with self.environment.read() as transaction:
            blob = transaction.get(JOURNAL_KEY)
            return None if blob is None else JournalRecord.unpack(bytes(blob), f"the journal of {self.path}")

    def _served(self, *, overwrite: bool) -> bool:
        """Whether an index is served; a damaged manifest goes where it is to be replaced anyway."""
        try:
            return self.manifest() is not None
        except CorruptionError:
            if not overwrite:
                raise
            with self.commit(deletes=True) as transaction:
                transaction.delete(MANIFEST_KEY)
            return False

    @property
    def failed(self) -> bool:
        """Whether a commit or an fsync has failed, so that nothing more can be trusted to reach the disk."""
        return self._failed or self.directory.failed

    def check(self) -> None:
        """Make sure that nothing has failed.

        Raises:
            StorageError: something has.
        """
        if self.failed:
            raise StorageError(f"a commit to {self.path} failed before: close this writer and open the index again")

    @contextlib.contextmanager
    def commit(self, *, deletes: bool = False, needed: int = 0) -> Iterator[Any]:
        """A write transaction, durable when its block ends; see `Environment.write`.

        Args:
            deletes: keys are deleted in it, and few written.
            needed: bytes that will be written; where the disk has no room for them, nothing is begun, and nothing has failed.

        Raises:
            StorageError: it failed, or one failed before, or an fsync of a segment file.
        """
        self.check()
        self.environment.check_room(needed)
        try:
            with self.environment.write(deletes=deletes, needed=needed) as transaction:
                yield transaction
        except StorageError:
            # what is on the disk after a failed commit or fsync is unknown until it is opened anew
            self._failed = True
            raise

    # -- building --

    def stage(self, config: IndexConfig, journal: Journal | None = None) -> None:
        """Begin a build."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self.commit() as transaction:
            transaction.put(BUILDING_KEY, Manifest(0, config, (), created).pack(BUILDING_KEY))
            if journal is not None:
                transaction.put(JOURNAL_KEY, journal.record.pack())

    def new_segment(self) -> SegmentWriter:
        """A segment for the stage."""
        return SegmentWriter(self.directory, self._stage().config, threads=self.threads)

    def add_segment(self, segment: SealedSegment, journal: Journal | None = None) -> None:
        """Commit a segment to the stage; it is durable when this returns, and the journal no longer holds what is in it."""
        stage = self._stage()
        record = None if journal is None else journal.sealed()
        with self.commit(needed=segment.size) as transaction:
            segment.put(transaction)
            staged = stage.with_segments((*stage.segments, segment.info))
            transaction.put(BUILDING_KEY, staged.pack(BUILDING_KEY))
            if record is not None:
                transaction.put(JOURNAL_KEY, record.pack())
        if journal is not None and record is not None:
            journal.became(record)

    def publish(self) -> Manifest:
        """Make the stage the served generation, in one commit; the old generation's bytes are freed after it."""
        served = self.manifest()
        published = replace(self._stage(), generation=1 if served is None else served.generation + 1)
        with self.commit(deletes=True) as transaction:
            transaction.put(MANIFEST_KEY, published.pack(MANIFEST_KEY))
            transaction.delete(BUILDING_KEY)
            transaction.delete(JOURNAL_KEY)
        with contextlib.suppress(StorageError):  # it is published; the next writer removes what is left
            self.collect()
        return published

    def discard_stage(self) -> None:
        """Forget the stage and every other garbage; what is served stays as it is."""
        with self.environment.read() as transaction:
            staged = any(transaction.get(key) is not None for key in (BUILDING_KEY, JOURNAL_KEY))
        if staged:
            with self.commit(deletes=True) as transaction:
                transaction.delete(BUILDING_KEY)
                transaction.delete(JOURNAL_KEY)
        self.collect()

    def _stage(self) -> Manifest:
        stage = self.manifest(BUILDING_KEY)
        if stage is None:
            raise StorageError(f"no build has begun in {self.path}")
        return stage

    # -- a served index --

    @classmethod
    def for_changes(cls, path: Path) -> Self:
        """A writer of an index that is there, without what writers that were killed have left.

        Raises:
            IndexNotFoundError: there is no index.
            CorruptionError: it is damaged.
            LockedError: another writer holds it.
            StorageError: the folder cannot be written.
        """
        writer = cls(path)
        try:
            writer.manifest()
            with contextlib.suppress(StorageError):  # what cannot be removed now is no harm
                writer.collect()
        except BaseException:
            writer.close()
            raise
        return writer

    def delete(self, identifiers: Iterable[str]) -> int:
        """Make documents dead, in one commit: how many there were.

        Raises:
            InputError: an id is not there; nothing is deleted then.
            StorageError: the disk is full or failing.
        """
        with Changes(self) as changes:
            count = changes.delete(list(identifiers))
            changes.commit()
        return count

    # -- garbage --

    def keep(self, segment: str) -> None:
        """Count a segment's files and keys, which no manifest names yet, as no garbage until it is let go."""
        self._kept.add(segment)

    def let_go(self, segments: Iterable[str]) -> None:
        """Segments that are named by a manifest now, or are garbage."""
        self._kept.difference_update(segments)

    def remove_files(self, segments: Iterable[str]) -> None:
        """Remove the files of segments that no manifest names, and leave the store alone."""
        dead = set(segments)
        for name in self.directory.names():
            if name.split(".", 1)[0] in dead:
                self.directory.remove(name)

    def collect(self) -> None:
        """Remove files and keys of segments that no manifest names, in transactions of bounded size, and older stores."""
        remove_old_stores(self.path)
        manifests = [self.manifest(key) for key in (MANIFEST_KEY, BUILDING_KEY)]
        named = {info.uuid for manifest in manifests if manifest is not None for info in manifest.segments}
        journal = self.journal_record()
        named |= set() if journal is None else {journal.name}
        remove_garbage(self.environment, self.directory, named | self._kept, self.commit)

    # -- another store --

    def take_store(self, folder: Path) -> None:
        """Go over to the store that has just taken the place of this writer's; the old one goes with its last reader.

        Raises:
            StorageError: it cannot be opened; nothing is written to the old one any more.
        """
        try:
            fresh = Environment.open(folder)
        except BaseException:
            self._failed = True
            raise
        self.environment, old = fresh, self.environment
        old.close()
        remove_old_stores(self.path)

    def fail(self) -> None:
        """What is on the disk is unknown: refuse to write until it is opened anew."""
        self._failed = True

    # -- lifetime --

    def discard_unfinished(self) -> None:
        """Forget the stage and close; what was served stays, and if that is nothing the folder's contents go.

        It is called when a build has failed, and raises nothing that would hide why: the next writer removes what is left.
        """
        empty = False
        try:
            empty = self.manifest() is None
            if not empty and not self.failed:
                self.discard_stage()
        except StorageError:
            pass
        finally:
            self.environment.close()
            if empty:
                self._remove_all()
            self._lock.release()
        if empty:
            with contextlib.suppress(OSError):  # not empty: something that is not ours
                self.path.rmdir()

    def _remove_all(self) -> None:
        # the store goes last: without it the folder would look like somebody else's
        shutil.rmtree(self.path / _SEGMENTS, ignore_errors=True)
        for entry in [entry for entry in self.path.iterdir() if is_of_store(entry.name)]:
            shutil.rmtree(entry, ignore_errors=True)
        for name in (HOLDER, LOCK):
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Release store and lock."""
        self.environment.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is_foreign(path: Path, *, overwrite: bool) -> bool:
    """Whether a folder holds something that is no index, nor what a killed build may leave."""
    if not path.is_dir() or (holds_index(path) and (store_of(path) / DATA_FILE).stat().st_size):
        return False
    ours = {LOCK, HOLDER}
    if overwrite and holds_index(path):  # cut to nothing
        ours.add(_SEGMENTS)
    return any(entry.name not in ours and not is_of_store(entry.name) for entry in path.iterdir())
