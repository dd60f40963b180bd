"""Changes: the next generation of an index in the making.

Imports the rest of storage. Invariant: nothing of it is seen before `commit`, which is one transaction; what comes to nothing
leaves garbage at most, which the writer removes at once or the next writer later.

New segments but the last are put into the store as they come, each in a transaction of its own, and are garbage until the
manifest names them: so a commit of many documents takes no more memory than one segment, and one of few is one transaction.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np

from m3search.errors import ClosedError, InputError, StorageError
from m3search.storage.codec import pack_array
from m3search.storage.keys import MANIFEST_KEY, array_key
from m3search.storage.manifest import SegmentInfo
from m3search.storage.segment import LIVE
from m3search.storage.segment_writer import SealedSegment, SegmentWriter
from m3search.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from m3search.storage.index_writer import IndexWriter
    from m3search.storage.manifest import IndexConfig, Manifest


class Changes:
    """What is added and deleted on top of one generation; use it as a context manager, which discards what was not committed.

    Attributes:
        snapshot: the generation that is changed.
    """

    def __init__(self, writer: IndexWriter) -> None:
        self._writer = writer
        self.snapshot = Snapshot.latest(writer.environment, writer.path)
        self._dead: dict[str, set[int]] = {}
        self._own: list[str] = []
        self._added: list[SegmentInfo] = []
        self._last: SealedSegment | None = None
        self._open = True

    @property
    def config(self) -> IndexConfig:
        """Of the index."""
        return self.snapshot.manifest.config

    def new_segment(self) -> SegmentWriter:
        """An empty segment.

        Raises:
            ClosedError: these changes are committed or discarded.
            StorageError: the disk is full or failing.
        """
        self._check()
        segment = SegmentWriter(self._writer.directory, self.config, threads=self._writer.threads)
        self._own.append(segment.uuid)
        self._writer.keep(segment.uuid)
        return segment

    def add_segment(self, sealed: SealedSegment) -> None:
        """Take a segment that is whole.

        Raises:
            StorageError: the disk is full or failing.
        """
        self._check()
        if self._last is not None:
            with self._writer.commit(needed=self._last.size) as transaction:
                self._last.put(transaction)
            self._added.append(self._last.info)
        self._last = sealed

    def kill(self, segment: str, document: int) -> None:
        """Make a document dead, of the generation or of an added segment, which may be open still."""
        self._check()
        self._dead.setdefault(segment, set()).add(document)

    def is_dead(self, segment: str, document: int) -> bool:
        """Whether these changes kill it."""
        return document in self._dead.get(segment, ())

    def find(self, identifiers: Sequence[str]) -> list[tuple[str, int] | None]:
        """Segment and number of the generation's documents with these ids that are still alive after the changes so far."""
        self._check()
        found = self.snapshot.find_all(identifiers)
        return [
            None if place is None or self.is_dead(place[0].info.uuid, place[1]) else (place[0].info.uuid, place[1])
            for place in found
        ]

    def delete(self, identifiers: Sequence[str]) -> int:
        """Kill documents of the generation: how many there were.

        Raises:
            InputError: an id is not there; nothing is killed then.
        """
        wanted = list(dict.fromkeys(identifiers))
        found = self.find(wanted)
        for identifier, place in zip(wanted, found, strict=True):
            if place is None:
                raise InputError(f"there is no document {identifier!r} to delete")
        for place in found:
            assert place is not None
            self.kill(*place)
        return len(wanted)

    def commit(self) -> Manifest:
        """Make the changes the served generation, durably; without any there is no new one.

        Raises:
            StorageError: the disk is full or failing; the old generation is served on.
        """
        self._check()
        before = self.snapshot.manifest
        if not self._dead and not self._added and self._last is None:
            self.close()
            return before
        live = {segment.info.uuid: segment.live for segment in self.snapshot.segments}
        added = [*self._added, *([] if self._last is None else [self._last.info])]
        bitmaps: dict[str, NDArray[np.bool_]] = {}
        segments = []
        for info in (*before.segments, *added):
            if info.uuid in self._dead:
                bitmaps[info.uuid] = _without(live.get(info.uuid), info.documents, self._dead[info.uuid])
                info = replace(info, deleted=int((~bitmaps[info.uuid]).sum()))  # noqa: PLW2901 - the same segment
            if info.uuid in live or info.deleted < info.documents:
                segments.append(info)
        kept = {info.uuid for info in segments}
        after = replace(before, generation=before.generation + 1, segments=tuple(segments))
        with self._writer.commit(needed=0 if self._last is None else self._last.size) as transaction:
            if self._last is not None and self._last.info.uuid in kept:
                self._last.put(transaction)
            for uuid, bits in bitmaps.items():
                if uuid in kept:
                    key = array_key(bytes.fromhex(uuid), LIVE)
                    transaction.put(key, pack_array(np.packbits(bits, bitorder="little"), key))
            transaction.put(MANIFEST_KEY, after.pack(MANIFEST_KEY))
        self._end([uuid for uuid in self._own if uuid not in kept])
        return after

    def close(self) -> None:
        """Discard what was not committed; closing twice does nothing."""
        if self._open:
            self._end(self._own)

    def _end(self, garbage: Sequence[str]) -> None:
        self._open = False
        self.snapshot.release()
        self._writer.let_go(self._own)
        if garbage and not self._writer.failed:
            with contextlib.suppress(StorageError):  # the next writer removes it
                self._writer.collect()
        elif garbage:
            self._writer.remove_files(garbage)

    def _check(self) -> None:
        if not self._open:
            raise ClosedError("these changes are committed or discarded: begin others")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _without(live: NDArray[np.bool_] | None, documents: int, dead: set[int]) -> NDArray[np.bool_]:
    left = np.ones(documents, bool) if live is None else live.copy()
    left[list(dead)] = False
    return left
