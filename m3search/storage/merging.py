"""Merging: several segments become one, from what is stored.

Imports the rest of storage. Invariant: no score changes but by the documents that are gone, because stored values are copied
and never computed anew; what is damaged is found and not copied; and nothing is seen of a merge before its one commit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError
from m3search.storage.codec import rekeyed
from m3search.storage.keys import MANIFEST_KEY, array_key, document_key
from m3search.storage.segment import Segment
from m3search.storage.segment_writer import SegmentWriter
from m3search.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from m3search.storage.index_writer import IndexWriter
    from m3search.storage.manifest import SegmentInfo
    from m3search.storage.merge_policy import MergePolicy

_CHUNK_PASSAGES = 4096
_CHUNK_BYTES = 64 * 2**20
_BYTES_A_TRANSACTION = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging did.

    Attributes:
        merges: how many.
        segments: how many segments were merged.
        documents: how many documents were rewritten.
        purged: how many deleted ones are gone.
    """

    merges: int = 0
    segments: int = 0
    documents: int = 0
    purged: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            self.merges + other.merges,
            self.segments + other.segments,
            self.documents + other.documents,
            self.purged + other.purged,
        )


def merge_due(writer: IndexWriter, policy: MergePolicy) -> Merged:
    """Merge what the policy says is due, commit by commit.

    Raises:
        CorruptionError: what is to be merged is damaged; it is served on.
        StorageError: the disk is full or failing; what is served is whole.
    """
    done = Merged()
    while group := policy.due(_segments(writer)):
        done += _merge(writer, group)
    return done


def merge_all(writer: IndexWriter, policy: MergePolicy) -> Merged:
    """Merge until segments are as few as the policy allows and nothing dead is left; raises as `merge_due`."""
    done = Merged()
    for group in policy.all(_segments(writer)):
        done += _merge(writer, group)
    return done


def _segments(writer: IndexWriter) -> Sequence[SegmentInfo]:
    manifest = writer.manifest()
    return () if manifest is None else manifest.segments


def _merge(writer: IndexWriter, group: Sequence[SegmentInfo]) -> Merged:
    """Put one segment in the place of a group, or none where nothing of it lives."""
    names = {info.uuid for info in group}
    living = sum(info.documents - info.deleted for info in group)
    with Snapshot.latest(writer.environment, writer.path) as snapshot:
        manifest = snapshot.manifest
        made = [_merged(writer, snapshot, group)] if living else []
        first = next(place for place, info in enumerate(manifest.segments) if info.uuid in names)
        before = manifest.segments[:first]
        after = tuple(info for info in manifest.segments[first:] if info.uuid not in names)
        successor = replace(manifest, generation=manifest.generation + 1, segments=(*before, *made, *after))
        try:
            with writer.commit() as transaction:
                transaction.put(MANIFEST_KEY, successor.pack(MANIFEST_KEY))
        finally:
            writer.let_go(info.uuid for info in made)
    writer.collect()
    return Merged(1, len(group), living, sum(info.deleted for info in group))


def _merged(writer: IndexWriter, snapshot: Snapshot, group: Sequence[SegmentInfo]) -> SegmentInfo:
    """One segment of several, with its files and keys on the disk, and named by no manifest yet."""
    made = SegmentWriter(writer.directory, snapshot.manifest.config, threads=writer.threads)
    writer.keep(made.uuid)
    try:
        for info in (one for one in group if one.deleted < one.documents):
            segment = snapshot.verified(info)
            documents = np.arange(info.documents) if segment.live is None else np.flatnonzero(segment.live)
            made.append_stored_metadata(snapshot.columns(segment), documents)
            _put_all(writer, _records(snapshot, segment, documents, bytes.fromhex(made.uuid), made.documents))
            for chunk in _chunks(segment, documents):
                made.append_stored(segment, chunk)
        sealed = made.seal()
        key = sealed.info.key
        _put_all(writer, ((array_key(key, name), blob) for name, blob in sealed.blobs.items()))
    except BaseException:
        made.discard()
        writer.let_go([made.uuid])
        writer.remove_files([made.uuid])
        raise
    return sealed.info


def _chunks(segment: Segment, documents: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[Any]:
    """Documents, a bounded number of passages and bytes at a time, one at least."""
    sizes = np.diff(segment.passage_ends)[documents].astype(np.int64)
    if segment.tokens is not None:
        ends = segment.tokens.ends[segment.passage_ends]
        row = _CHUNK_BYTES // _CHUNK_PASSAGES
        sizes = np.maximum(sizes, np.diff(ends)[documents] * segment.tokens.codes[:1].nbytes // row)
    steps = np.cumsum(sizes) // _CHUNK_PASSAGES
    for part in np.split(documents, np.flatnonzero(np.diff(steps)) + 1):
        if len(part):
            yield part


def _records(
    snapshot: Snapshot, segment: Segment, documents: np.ndarray[Any, np.dtype[np.int64]], made: bytes, first: int
) -> Iterator[tuple[bytes, bytes]]:
    """The documents' records under the keys of a segment in which they are numbered from `first` on."""
    for number, document in enumerate(documents.tolist(), first):
        key = document_key(segment.info.key, document)
        where = f"document {document} of segment {segment.info.uuid}"
        blob = snapshot.value(key)
        if blob is None:
            raise CorruptionError(f"{where} is missing: restore the index or build it again")
        new = document_key(made, number)
        yield new, rekeyed(blob, key, new, where)


def _put_all(writer: IndexWriter, items: Iterable[tuple[bytes, bytes]]) -> None:
    """Put them into the store, in transactions of bounded size."""
    batch: list[tuple[bytes, bytes]] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item[1])
        if size >= _BYTES_A_TRANSACTION:
            _put(writer, batch, size)
            batch, size = [], 0
    if batch:
        _put(writer, batch, size)


def _put(writer: IndexWriter, batch: Sequence[tuple[bytes, bytes]], size: int) -> None:
    with writer.commit(needed=size) as transaction:
        for key, value in batch:
            transaction.put(key, value)
