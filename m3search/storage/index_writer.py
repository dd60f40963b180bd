"""IndexWriter: the one process that may change an index, and the commit protocol.

Owns the write lock, the stage of a build, publication, deletion and the removal of garbage; imports the rest of storage.
Invariant: the manifest in the store names only what is on the disk, and a crash leaves the old generation or the new one, plus
garbage that the next writer removes.

A build commits each segment under the record "building"; `publish` turns that record into the manifest in one transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import filelock
import numpy as np

from m3search.errors import CorruptionError, IndexExistsError, InputError, LockedError, StorageError
from m3search.storage.codec import pack_array
from m3search.storage.directory import Directory, make_directory
from m3search.storage.environment import Environment
from m3search.storage.keys import (
    BUILDING_KEY,
    MANIFEST_KEY,
    SEGMENTS,
    after_segment,
    array_key,
    segment_of,
    segment_prefix,
)
from m3search.storage.manifest import IndexConfig, Manifest, SegmentInfo
from m3search.storage.segment import LIVE
from m3search.storage.segment_writer import SealedSegment, SegmentWriter
from m3search.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_LOCK, _HOLDER, _STORE, _SEGMENTS = "write.lock", "write.holder", "store", "segments"
_DELETES_A_TRANSACTION = 50_000


class IndexWriter:
    """Changes an index; everything it acknowledges is durable."""

    def __init__(self, path: Path, *, create: bool = False, replace_damaged: bool = False) -> None:
        self.path = path
        self.directory = Directory(path / _SEGMENTS)
        self.threads: int | None = None  # of what is made of a segment at its end; None: as many as OpenMP takes
        self._failed = False
        self._lock = filelock.FileLock(path / _LOCK, thread_local=False)  # any thread may close
        self._take_lock(create=create)
        try:
            self.environment = self._open_store(create=create, replace_damaged=replace_damaged)
        except BaseException:
            self._release_lock()
            raise

    def _take_lock(self, *, create: bool) -> None:
        try:
            if create:
                make_directory(self.path)
            self._lock.acquire(timeout=0)
            (self.path / _HOLDER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        except filelock.Timeout as error:
            raise LockedError(f"{self.path} is being written by {self._holder()}: wait for it, or end it") from error
        except OSError as error:
            self._lock.release()
            raise StorageError(
                f"cannot write to {self.path}: {error.strerror}; name a path that can be written"
            ) from error

    def _open_store(self, *, create: bool, replace_damaged: bool) -> Environment:
        try:
            return Environment.open(self.path / _STORE, create=create)
        except CorruptionError:
            if not replace_damaged:
                raise
            shutil.rmtree(self.path / _STORE, ignore_errors=True)
            return Environment.open(self.path / _STORE, create=True)

    def _holder(self) -> str:
        try:
            holder = json.loads((self.path / _HOLDER).read_text())
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    @classmethod
    def for_build(cls, path: Path, *, overwrite: bool) -> Self:
        """A writer with an empty stage; what is served at `path` stays served until `publish`.

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
        writer = cls(path, create=True, replace_damaged=overwrite)
        try:
            if writer._served(overwrite=overwrite) and not overwrite:
                raise IndexExistsError(
                    f"{path} holds an index already: pass overwrite=True to replace it, or name another path"
                )
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

    def _served(self, *, overwrite: bool) -> bool:
        """Whether an index is served; a damaged manifest goes where it is to be replaced anyway."""
        try:
            return self.manifest() is not None
        except CorruptionError:
            if not overwrite:
                raise
            with self._commit(deletes=True) as transaction:
                transaction.delete(MANIFEST_KEY)
            return False

    @contextlib.contextmanager
    def _commit(self, *, deletes: bool = False) -> Iterator[Any]:
        if self._failed:
            raise StorageError(f"a commit to {self.path} failed before: close this writer and open the index again")
        try:
            with self.environment.write(deletes=deletes) as transaction:
                yield transaction
        except StorageError:
            # what is on the disk after a failed commit or fsync is unknown until it is opened anew
            self._failed = True
            raise

    # -- building --

    def stage(self, config: IndexConfig) -> None:
        """Begin a build."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self._commit() as transaction:
            transaction.put(BUILDING_KEY, Manifest(0, config, (), created).pack(BUILDING_KEY))

    def new_segment(self) -> SegmentWriter:
        """A segment for the stage."""
        return SegmentWriter(self.directory, self._stage().config, threads=self.threads)

    def add_segment(self, segment: SealedSegment) -> None:
        """Commit a segment to the stage; it is durable when this returns."""
        stage = self._stage()
        with self._commit() as transaction:
            segment.put(transaction)
            staged = stage.with_segments((*stage.segments, segment.info))
            transaction.put(BUILDING_KEY, staged.pack(BUILDING_KEY))

    def publish(self) -> Manifest:
        """Make the stage the served generation, in one commit; the old generation's bytes are freed after it."""
        served = self.manifest()
        published = replace(self._stage(), generation=1 if served is None else served.generation + 1)
        with self._commit(deletes=True) as transaction:
            transaction.put(MANIFEST_KEY, published.pack(MANIFEST_KEY))
            transaction.delete(BUILDING_KEY)
        with contextlib.suppress(StorageError):  # it is published; the next writer removes what is left
            self.collect()
        return published

    def discard_stage(self) -> None:
        """Forget the stage and every other garbage; what is served stays as it is."""
        with self.environment.read() as transaction:
            staged = transaction.get(BUILDING_KEY) is not None
        if staged:
            with self._commit(deletes=True) as transaction:
                transaction.delete(BUILDING_KEY)
        self.collect()

    def _stage(self) -> Manifest:
        stage = self.manifest(BUILDING_KEY)
        if stage is None:
            raise StorageError(f"no build has begun in {self.path}")
        return stage

    # -- deletion --

    def delete(self, identifiers: Iterable[str]) -> int:
        """Make documents dead, in one commit: how many there were.

        Raises:
            InputError: an id is not there; nothing is deleted then.
            StorageError: the disk is full or failing.
        """
        wanted = list(dict.fromkeys(identifiers))
        if not wanted:
            return 0
        with Snapshot.latest(self.environment, self.path) as snapshot:
            live: dict[str, np.ndarray[Any, np.dtype[np.bool_]]] = {}
            for identifier in wanted:
                found = snapshot.find(identifier)
                if found is None:
                    raise InputError(f"there is no document {identifier!r} to delete")
                segment, document = found
                if segment.info.uuid not in live:
                    live[segment.info.uuid] = (
                        np.ones(segment.info.documents, bool) if segment.live is None else segment.live.copy()
                    )
                live[segment.info.uuid][document] = False
            manifest = snapshot.manifest
        self._publish_live(manifest, live)
        return len(wanted)

    def _publish_live(self, manifest: Manifest, live: dict[str, np.ndarray[Any, np.dtype[np.bool_]]]) -> None:
        def updated(info: SegmentInfo) -> SegmentInfo:
            return info if info.uuid not in live else replace(info, deleted=int((~live[info.uuid]).sum()))

        segments = tuple(updated(info) for info in manifest.segments)
        with self._commit() as transaction:
            for uuid, bits in live.items():
                key = array_key(bytes.fromhex(uuid), LIVE)
                transaction.put(key, pack_array(np.packbits(bits, bitorder="little"), key))
            successor = replace(manifest, generation=manifest.generation + 1, segments=segments)
            transaction.put(MANIFEST_KEY, successor.pack(MANIFEST_KEY))

    # -- garbage --

    def collect(self) -> None:
        """Remove files and keys of segments that no manifest names, in transactions of bounded size."""
        manifests = [self.manifest(key) for key in (MANIFEST_KEY, BUILDING_KEY)]
        named = {info.uuid for manifest in manifests if manifest is not None for info in manifest.segments}
        for name in self.directory.names():
            if name.split(".", 1)[0] not in named:
                self.directory.remove(name)
        keep = {bytes.fromhex(uuid) for uuid in named}
        while self._collect_keys(keep):
            pass

    def _collect_keys(self, keep: set[bytes]) -> bool:
        """Delete some keys of dead segments; whether there may be more."""
        dead = [segment for segment in self._stored_segments() if segment not in keep]
        if not dead:
            return False
        left = _DELETES_A_TRANSACTION
        with self._commit(deletes=True) as transaction, transaction.cursor() as cursor:
            for prefix in map(segment_prefix, dead):
                found = cursor.set_range(prefix)
                while found and left and bytes(cursor.key()[: len(prefix)]) == prefix:
                    found = cursor.delete() and bool(len(cursor.key()))
                    left -= 1
        return True

    def _stored_segments(self) -> list[bytes]:
        """The segments that have keys, found by skipping from one to the next."""
        segments: list[bytes] = []
        with self.environment.read() as transaction, transaction.cursor() as cursor:
            found = cursor.set_range(SEGMENTS)
            while found:
                segments.append(segment_of(bytes(cursor.key())))
                found = cursor.set_range(after_segment(segments[-1]))
        return segments

    # -- lifetime --

    def discard_unfinished(self) -> None:
        """Forget the stage and close; what was served stays, and if that is nothing the folder's contents go.

        It is called when a build has failed, and raises nothing that would hide why: the next writer removes what is left.
        """
        empty = False
        try:
            empty = self.manifest() is None
            if not empty and not self._failed:
                self.discard_stage()
        except StorageError:
            pass
        finally:
            self.environment.close()
            if empty:
                self._remove_all()
            self._release_lock()
        if empty:
            with contextlib.suppress(OSError):  # not empty: something that is not ours
                self.path.rmdir()

    def _remove_all(self) -> None:
        # the store goes last: without it the folder would look like somebody else's
        for name in (_SEGMENTS, _STORE):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in (_HOLDER, _LOCK):
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Release store and lock."""
        self.environment.close()
        self._release_lock()

    def _release_lock(self) -> None:
        with contextlib.suppress(OSError):  # the next writer writes its own
            (self.path / _HOLDER).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is_foreign(path: Path, *, overwrite: bool) -> bool:
    """Whether a folder holds something that is no index, nor what a killed build may leave."""
    data = path / _STORE / "data.mdb"
    if not path.is_dir() or (data.is_file() and data.stat().st_size):
        return False
    ours = {_LOCK, _HOLDER, _STORE}
    if overwrite and data.is_file():  # cut to nothing
        ours.add(_SEGMENTS)
    return not {entry.name for entry in path.iterdir()} <= ours
