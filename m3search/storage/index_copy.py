"""IndexCopy: one generation of an index, written out as an index of its own.

Imports the rest of storage. Invariant: the copy holds what its snapshot holds, whatever is committed meanwhile, and appears at
its destination whole or not at all.
"""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING

from m3search.errors import CorruptionError, IndexExistsError, StorageError
from m3search.storage.directory import Directory, make_directory, sync_directory
from m3search.storage.environment import Environment
from m3search.storage.keys import MANIFEST_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from m3search.storage.snapshot import Snapshot

_BYTES_A_TRANSACTION = 64 * 2**20


def copy_index(snapshot: Snapshot, destination: Path) -> None:
    """A copy of one generation in a new folder, without what it no longer names.

    Raises:
        IndexExistsError: something is there.
        CorruptionError: a segment file is not what was written.
        StorageError: the disk refuses it.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise IndexExistsError(f"{destination} is there already: name another path")
    part = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.part")
    try:
        make_directory(part)
        _copy_files(snapshot, part)
        _copy_store(snapshot, part)
        try:
            if destination.exists():
                destination.rmdir()
            part.rename(destination)
            sync_directory(destination.parent)
        except OSError as error:
            raise StorageError(f"cannot copy the index to {destination}: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _copy_files(snapshot: Snapshot, part: Path) -> None:
    directory = Directory(part / "segments")
    for segment in snapshot.segments:
        for suffix, data in segment.files.items():
            name = segment.info.file_name(suffix)
            with directory.create(name) as file:
                file.write(data)
                _, checksum = file.publish()
            if checksum != segment.info.files[suffix].checksum:
                raise CorruptionError(f"{name} does not match its checksum: restore the index or build it again")


def _copy_store(snapshot: Snapshot, part: Path) -> None:
    store = Environment.open(part / "store", create=True)
    try:
        items = snapshot.items()
        written = _BYTES_A_TRANSACTION
        while written >= _BYTES_A_TRANSACTION:
            written = 0
            with store.write() as transaction:
                for key, value in items:
                    transaction.put(key, value)
                    written += len(value)
                    if written >= _BYTES_A_TRANSACTION:
                        break
        with store.write() as transaction:
            transaction.put(MANIFEST_KEY, snapshot.manifest.pack(MANIFEST_KEY))
    finally:
        store.close()
