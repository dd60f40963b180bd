"""Snapshot: one generation of an index, held still for those who read it.

Owns a read transaction, the segments and the statistics of a generation; imports the rest of storage's readers. Invariant:
nothing that a snapshot shows changes while somebody holds it, and its views are gone before its transaction is.
"""

from __future__ import annotations

import itertools
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from m3search.errors import ClosedError, CorruptionError, IndexNotFoundError
from m3search.filtering import FieldType, merged_types
from m3search.records import Document
from m3search.storage.codec import unpack_record
from m3search.storage.column_writer import ColumnWriter
from m3search.storage.columns import Column, SegmentColumns
from m3search.storage.directory import Directory
from m3search.storage.keys import MANIFEST_KEY, array_key, document_key
from m3search.storage.manifest import Manifest, SegmentInfo
from m3search.storage.segment import LIVE, Segment
from m3search.storage.segment_writer import HASH_BYTES, id_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from m3search.storage.environment import Environment

_ATTEMPTS = 5


class Snapshot:
    """A generation; `acquire` it for each use and `release` it after, the last release closes it.

    Attributes:
        segments: in order of their first docids.
        addresses: what the loops of retrieval keep for each field of where arrays lie; worthless once this is closed.
        selections: what some filters, by their text, allow of each segment.
    """

    def __init__(self, environment: Environment, path: Path, *, verify: bool = False) -> None:
        self._environment = environment
        self._path = path
        self._lock = threading.RLock()  # the garbage collector may release a user wherever this thread stands
        self._users = 1
        self.segments: tuple[Segment, ...] = ()
        self.addresses: dict[str, NDArray[np.int64]] = {}
        self.selections: dict[str, list[NDArray[np.uint8]]] = {}
        self._transaction = environment.begin_read()
        try:
            blob = self._get(MANIFEST_KEY)
            if blob is None:
                raise IndexNotFoundError(
                    f"{path} holds no index that was finished: build one there, or go on with resume"
                )
            self.manifest = Manifest.unpack(blob, MANIFEST_KEY, f"the manifest of {path}")
            self.segments = self._open_segments(Directory(path / "segments"), verify=verify)
        except BaseException:
            self._close()
            raise

    @classmethod
    def latest(cls, environment: Environment, path: Path, *, verify: bool = False) -> Self:
        """The last generation; tries again with a newer one where a merge removed a file while it was opened.

        Raises:
            IndexNotFoundError: nothing was ever published here.
            CorruptionError: the index is damaged.
        """
        missing: FileNotFoundError | None = None
        for _ in range(_ATTEMPTS):
            try:
                return cls(environment, path, verify=verify)
            except FileNotFoundError as error:
                missing = error
        raise CorruptionError(f"a segment file is gone: {missing}; restore the index or build it again")

    def _open_segments(self, directory: Directory, *, verify: bool) -> tuple[Segment, ...]:
        segments, base = [], 0
        for info in self.manifest.segments:
            segments.append(Segment(info, self.manifest.config, base, directory, self._get, verify=verify))
            base += info.passages
        return tuple(segments)

    def _get(self, key: bytes) -> memoryview | None:
        return self._environment.get(self._transaction, key)

    # -- lifetime --

    def acquire(self) -> Self:
        """One more user.

        Raises:
            ClosedError: the last user has gone already, or the snapshot was inherited through a fork.
            StorageError: a writer that does not know of it has committed since.
        """
        with self._lock:
            if not self._users:
                raise ClosedError("this snapshot is closed: open the index again")
            self._environment.check(self._transaction)
            self._users += 1
        return self

    def release(self) -> None:
        """One user fewer; the last one closes."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._close()

    def _close(self) -> None:
        self.segments = ()
        self.addresses = {}
        self._environment.end_read(self._transaction)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    # -- what it holds --

    @property
    def transaction(self) -> int:
        """The number of the commit that it shows."""
        return int(self._transaction.id())

    @property
    def documents(self) -> int:
        """Live documents."""
        return sum(info.documents - info.deleted for info in self.manifest.segments)

    @cached_property
    def passages(self) -> int:
        """Live passages."""
        return sum(
            segment.info.passages if segment.live_passages is None else int(segment.live_passages.sum())
            for segment in self.segments
        )

    @cached_property
    def largest_segment(self) -> int:
        """Passages of the largest one, deleted ones counted."""
        return max((segment.info.passages for segment in self.segments), default=0)

    @cached_property
    def bm25_length(self) -> int:
        """Terms in all live passages, repeated ones counted."""
        total = 0
        for segment in self.segments:
            lengths = segment.fields["bm25"].lengths
            assert lengths is not None
            live = segment.live_passages
            total += (
                int(segment.info.statistics["bm25_length"]) if live is None else int(lengths[live].sum(dtype=np.int64))
            )
        return total

    @cached_property
    def dense_norm(self) -> float:
        """No dense vector is longer than this."""
        return max((segment.info.statistics["dense_norm"] for segment in self.segments), default=0.0)

    @cached_property
    def approximate(self) -> bool:
        """Whether an approximate index proposes for the dense leg of any segment."""
        return any(segment.dense_index is not None for segment in self.segments)

    @cached_property
    def passages_per_document(self) -> float:
        """How many passages a document has, the deleted ones counted; 1 where there is no document."""
        documents = sum(info.documents for info in self.manifest.segments)
        return sum(info.passages for info in self.manifest.segments) / documents if documents else 1.0

    @cached_property
    def _bases(self) -> NDArray[np.int64]:
        return np.array([segment.base for segment in self.segments], np.int64)

    @cached_property
    def _one_passage_each(self) -> bool:
        return all(segment.one_passage_each for segment in self.segments)

    def split(self, docids: NDArray[np.int64]) -> Iterator[tuple[Segment, NDArray[np.intp], NDArray[np.int64]]]:
        """Passages by segment: the segment, their positions in `docids`, their numbers in the segment."""
        if len(self.segments) == 1 and len(docids):
            yield self.segments[0], np.arange(len(docids)), docids - self.segments[0].base
            return
        owners = self.owners(docids)
        for owner in np.flatnonzero(np.bincount(owners)):
            positions = np.flatnonzero(owners == owner)
            segment = self.segments[owner]
            yield segment, positions, docids[positions] - segment.base

    def parents(self, docids: NDArray[np.int64]) -> NDArray[np.int64]:
        """i64[n], the first passage of each passage's document: `docids` itself where documents are passages."""
        if self._one_passage_each:
            return docids
        parents = np.empty(len(docids), np.int64)
        for segment, positions, rows in self.split(docids):
            parents[positions] = segment.passage_ends[segment.documents_of[rows]] + segment.base
        return parents

    def owners(self, docids: NDArray[np.int64]) -> NDArray[np.int64]:
        """i64[n], for each passage the place of its segment in `segments`."""
        return np.searchsorted(self._bases, docids, side="right") - 1

    def find(self, identifier: str) -> tuple[Segment, int] | None:
        """Segment and number of the live document with this id, or None."""
        for segment in self.segments:
            document = segment.find(identifier)
            if document is not None:
                return segment, document
        return None

    def find_all(self, identifiers: Sequence[str]) -> list[tuple[Segment, int] | None]:
        """Segment and number of the live document with each of these ids, or None; many are faster than one by one."""
        encoded = [identifier.encode("utf-8", "surrogatepass") for identifier in identifiers]  # no stored id has one
        hashes = np.array([id_hash(value) for value in encoded], f"S{HASH_BYTES}")
        found: list[tuple[Segment, int] | None] = [None] * len(encoded)
        for segment in self.segments:
            for place, document in segment.find_all(encoded, hashes):
                found[place] = segment, document
        return found

    def allowed(self, identifiers: Sequence[str] | None) -> list[NDArray[np.uint8] | None]:
        """Per segment the packed bitmap of passages that may be found, least significant bit first; None: all.

        Args:
            identifiers: only these documents; None: every live one.
        """
        if identifiers is None:
            return [segment.packed_live for segment in self.segments]
        masks = [np.zeros(segment.info.passages, bool) for segment in self.segments]
        places = {segment.info.uuid: number for number, segment in enumerate(self.segments)}
        for identifier in identifiers:
            found = self.find(identifier)
            if found is not None:
                segment, document = found
                ends = segment.passage_ends
                masks[places[segment.info.uuid]][ends[document] : ends[document + 1]] = True
        return [np.packbits(mask, bitorder="little") for mask in masks]

    def columns(self, segment: Segment) -> SegmentColumns:
        """The columns of a segment's metadata; where an earlier version wrote none, they are made of its documents, once.

        Raises:
            ClosedError: this snapshot is closed.
            CorruptionError: the documents are damaged.
        """
        with self._lock:
            if segment.columns is None:
                info, writer = segment.info, ColumnWriter()
                for number in range(info.documents):
                    writer.append(self.document(segment, number).metadata)
                segment.columns = SegmentColumns(writer.finish(), info.documents, f"segment {info.uuid}")
            return segment.columns

    def column(self, segment: Segment, field: str) -> Column | None:
        """One of them, or None where the segment does not have the field."""
        with self._lock:
            self._environment.check(self._transaction)
            return self.columns(segment).get(field)

    @cached_property
    def types(self) -> Mapping[str, FieldType]:
        """The fields of the metadata, with their types."""
        return merged_types(self.columns(segment).types for segment in self.segments)

    @property
    def stored_types(self) -> dict[str, FieldType]:
        """The same of the segments that have columns on the disk."""
        return merged_types(segment.columns.types for segment in self.segments if segment.columns is not None)

    def document(self, segment: Segment, number: int) -> Document:
        """A document with text and metadata.

        Raises:
            ClosedError: this snapshot is closed.
            CorruptionError: its record is damaged.
        """
        with self._lock:
            if not self._users:
                raise ClosedError(
                    "the index was closed before this document was read: read it first, or open the index again"
                )
            self._environment.check(self._transaction)
            key = document_key(segment.info.key, number)
            blob = self._get(key)
            where = f"document {number} of segment {segment.info.uuid}"
            if blob is None:
                raise CorruptionError(f"{where} is missing: restore the index or build it again")
            title, text, metadata = _fields(unpack_record(blob, key, where), where)
        return Document(segment.id_of(number), text, title, metadata)

    def live_documents(self) -> Iterator[tuple[Segment, int]]:
        """Segment and number of every live document, in order."""
        for segment in self.segments:
            numbers = range(segment.info.documents) if segment.live is None else np.flatnonzero(segment.live)
            for number in numbers:
                yield segment, int(number)

    def items(self) -> Iterator[tuple[bytes, memoryview]]:
        """All that the store holds of this generation but its manifest: keys, ascending, and values as views.

        Raises:
            CorruptionError: one is missing.
        """
        for segment in sorted(self.segments, key=lambda one: one.info.key):
            info = segment.info
            names = sorted([*info.blobs, LIVE] if info.deleted else info.blobs)
            arrays = (array_key(info.key, name) for name in names)
            documents = (document_key(info.key, number) for number in range(info.documents))
            for key in itertools.chain(arrays, documents):
                with self._lock:
                    value = self._get(key)
                if value is None:
                    raise CorruptionError(f"segment {info.uuid} is incomplete: restore the index or build it again")
                yield key, value

    def value(self, key: bytes) -> memoryview | None:
        """What the store holds under a key in this generation, as a view that ends with it; None: nothing."""
        with self._lock:
            return self._get(key)

    def verified(self, info: SegmentInfo) -> Segment:
        """A segment of this generation, with every byte but those of its documents' records checked.

        Raises:
            CorruptionError: it is damaged.
        """
        directory = Directory(self._path / "segments")
        return Segment(info, self.manifest.config, 0, directory, self._get, verify=True)

    def verify(self) -> None:
        """Read every document's record and check it.

        Raises:
            CorruptionError: one is damaged.
        """
        for segment in self.segments:
            for number in range(segment.info.documents):
                self.document(segment, number)


def _fields(record: Any, where: str) -> tuple[str, str, dict[str, Any]]:  # noqa: ANN401 - msgpack gives any plain value
    if not isinstance(record, list) or len(record) != 3 or not isinstance(record[2], dict):
        raise CorruptionError(f"{where} is no document: restore the index or build it again")
    return record[0], record[1], record[2]
