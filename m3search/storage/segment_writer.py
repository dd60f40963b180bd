"""SegmentWriter: collects documents and their passages, and becomes a segment.

Owns a segment on its way to the disk; imports the layouts and the directory. Invariant: vectors go straight to files, so
what stays in memory is texts and postings, and `full` says when these have reached their bounds.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import DocumentError, StorageError
from m3search.storage.array_file import ArrayFileWriter, read_arrays
from m3search.storage.block_postings import LARGEST_SEGMENT
from m3search.storage.codec import VALUE_LIMIT, pack_array, pack_record
from m3search.storage.column_writer import ColumnWriter
from m3search.storage.dense_index import FAISS_SUFFIX
from m3search.storage.dense_index_writer import write_dense_index
from m3search.storage.keys import array_key, document_key
from m3search.storage.manifest import FileInfo, IndexConfig, SegmentInfo
from m3search.storage.postings import BM25Writer, LexicalWriter
from m3search.storage.token_vectors import TokenVectorsWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Document
    from m3search.storage.columns import SegmentColumns
    from m3search.storage.directory import Directory
    from m3search.storage.segment import Segment

_POSTINGS_LIMIT = 2**27  # about two million passages of M3: one large segment is searched faster than some small ones
_TEXT_LIMIT = 256 * 2**20
_METADATA_LIMIT = 2**28
_ID_LIMIT = VALUE_LIMIT // 2
HASH_BYTES = 16
_ROWS_LIMIT = LARGEST_SEGMENT // 2  # leaves room for one more document, whatever its passages


@dataclass(frozen=True, slots=True, eq=False)
class PassageBatch:
    """Passages that belong together: what the pipeline hands to the writer.

    Attributes:
        documents: whole documents, in order.
        offsets: i64[documents + 1]: which rows are whose passages.
        spans: i64[rows, 2]: characters of each passage in its document's text.
        dense: f32[rows, dim], or None.
        lexical: CSR [rows, vocab], or None.
        colbert: token vectors of every row, or None.
        terms: term frequencies of every row, or None.
    """

    documents: Sequence[Document]
    offsets: NDArray[np.int64]
    spans: NDArray[np.int64]
    dense: NDArray[np.float32] | None = None
    lexical: Any = None
    colbert: Sequence[NDArray[np.float32]] | None = None
    terms: Sequence[Mapping[str, int]] | None = None


@dataclass(slots=True)
class _Columns:
    """What a segment knows of its documents and passages."""

    ids: list[bytes] = field(default_factory=list)
    passages: list[int] = field(default_factory=list)
    spans: list[NDArray[np.int64]] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    id_bytes: int = 0
    record_bytes: int = 0


class SegmentWriter:
    """A segment on its way: `append` batches, then `seal`; or `discard`."""

    def __init__(self, directory: Directory, config: IndexConfig, *, threads: int | None = None) -> None:
        """Begins an empty segment; `threads` is for what is made of it at the end, None: as many as OpenMP takes."""
        self.uuid = uuid.uuid4().hex
        self._key = bytes.fromhex(self.uuid)
        self.passages = 0
        self._config = config
        self._directory = directory
        self._threads = threads
        self._columns = _Columns()
        self._norm = 0.0
        self._metadata = ColumnWriter()
        self._lexical = LexicalWriter() if config.vocab_size is not None else None
        self._bm25 = BM25Writer(config.bm25["k1"], config.bm25["b"]) if config.bm25 is not None else None
        self._vectors: ArrayFileWriter | None = None
        self._tokens: TokenVectorsWriter | None = None
        try:
            if config.dense_dim is not None:
                self._vectors = ArrayFileWriter(directory, f"{self.uuid}.vectors")
                self._vectors.begin("vectors", "<f4", config.dense_dim)
            if config.colbert_dim is not None:
                self._tokens = TokenVectorsWriter(directory, self.uuid, config.colbert_dim, config.colbert_codec)
        except BaseException:
            self.discard()
            raise

    @property
    def documents(self) -> int:
        """How many there are so far."""
        return len(self._columns.ids)

    @property
    def capacity(self) -> int:
        """Documents or passages that it takes; one document alone may pass it."""
        return min(self._config.segment_size, _ROWS_LIMIT)

    @property
    def full(self) -> bool:
        """Whether the segment has reached its size or a bound of memory; a last batch may pass the bound."""
        postings = max(self._lexical.postings if self._lexical else 0, self._bm25.postings if self._bm25 else 0)
        return (
            max(self.passages, self.documents) >= self.capacity
            or postings >= _POSTINGS_LIMIT
            or self._columns.record_bytes >= _TEXT_LIMIT
            or self._columns.id_bytes >= _ID_LIMIT
            or (self._bm25 is not None and self._bm25.term_bytes >= _ID_LIMIT)
            or self._metadata.size >= _METADATA_LIMIT
            or (self._tokens is not None and self._tokens.full)
        )

    def append(self, batch: PassageBatch) -> None:
        """Add documents with everything that belongs to their passages.

        Raises:
            DocumentError: a document is too large to be stored.
            StorageError: the disk is full or failing.
        """
        for document in batch.documents:
            try:
                key = document_key(self._key, self.documents)
                record = pack_record([document.title, document.text, dict(document.metadata)], key)
            except StorageError as error:
                raise DocumentError(f"document {document.id!r} cannot be stored: {error}") from error
            self._metadata.append(document.metadata)
            self._columns.records.append(record)
            self._columns.record_bytes += len(record)
            encoded = document.id.encode()
            self._columns.ids.append(encoded)
            self._columns.id_bytes += len(encoded)
        self._columns.passages.extend(np.diff(batch.offsets).tolist())
        self._columns.spans.append(batch.spans)
        self.passages += len(batch.spans)
        if self._vectors is not None and batch.dense is not None:
            self._append_vectors(batch.dense)
        if self._lexical is not None and batch.lexical is not None:
            self._lexical.append(batch.lexical)
        if self._tokens is not None and batch.colbert is not None:
            self._tokens.append(batch.colbert)
        if self._bm25 is not None and batch.terms is not None:
            for counts in batch.terms:
                self._bm25.append(counts)

    def append_stored_metadata(self, columns: SegmentColumns, documents: NDArray[np.int64]) -> None:
        """Take the metadata of all documents of another segment that are to be here; then their chunks come, in order.

        Args:
            columns: of that segment.
            documents: their numbers there, ascending.
        """
        self._metadata.append_stored(columns, documents, complete=columns.complete)

    def append_stored(self, segment: Segment, documents: NDArray[np.int64]) -> None:
        """Take documents of another segment of this index as they are stored: their vectors, weights and terms, unchanged.

        Their records, with title, text and metadata, are left to the caller, and so are the columns of their metadata.

        Args:
            segment: whose bytes were verified.
            documents: their numbers there, ascending.

        Raises:
            StorageError: the disk is full or failing.
        """
        sizes = np.diff(segment.passage_ends)[documents]
        rows = segment.passages_of(documents)
        encoded = segment.encoded_ids(documents)
        self._columns.ids.extend(encoded)
        self._columns.id_bytes += sum(map(len, encoded))
        self._columns.passages.extend(sizes.tolist())
        self._columns.spans.append(segment.spans[rows].astype(np.int64))
        self.passages += len(rows)
        if self._vectors is not None:
            assert segment.vectors is not None
            self._append_vectors(segment.vectors[rows])
        if self._tokens is not None:
            assert segment.tokens is not None
            self._tokens.append_stored(segment.tokens, rows)
        for name, writer in (("lexical", self._lexical), ("bm25", self._bm25)):
            if writer is not None:
                writer.append_stored(segment.fields[name], rows)

    def _append_vectors(self, vectors: NDArray[np.float32]) -> None:
        assert self._vectors is not None
        self._vectors.append(vectors)
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        self._norm = max(self._norm, float(norms.max(initial=0.0)))

    def seal(self) -> SealedSegment:
        """Publish the files and compute the arrays; a transaction then makes them a segment.

        Raises:
            StorageError: the disk is full or failing.
        """
        files: dict[str, FileInfo] = {}
        statistics: dict[str, float] = {"dense_norm": self._norm}
        if self._vectors is not None:
            files["vectors"] = FileInfo(*self._vectors.publish())
            statistics |= self._write_dense_index(files)
        if self._tokens is not None:
            files |= {suffix: FileInfo(*file) for suffix, file in self._tokens.publish().items()}
        arrays = self._document_arrays()
        for name, writer in (("lexical", self._lexical), ("bm25", self._bm25)):
            if writer is not None:
                fields = writer.finish()
                arrays |= {f"{name}.{key}": value for key, value in fields.items()}
                statistics[f"{name}_postings"] = len(fields["row_terms"])
                if "lengths" in fields:
                    statistics["bm25_length"] = int(fields["lengths"].sum(dtype=np.int64))
        columns = self._metadata.finish()
        arrays |= columns.arrays
        blobs = {name: pack_array(value, array_key(self._key, name)) for name, value in arrays.items()}
        info = SegmentInfo(
            uuid=self.uuid,
            documents=self.documents,
            passages=self.passages,
            files=files,
            blobs={name: len(blob) for name, blob in blobs.items()},
            statistics=statistics,
            fields={name: str(found) for name, found in columns.types.items()},
            fields_complete=columns.complete,
        )
        return SealedSegment(info, blobs, self._columns.records)

    def _write_dense_index(self, files: dict[str, FileInfo]) -> Mapping[str, float]:
        """Adds the approximate index to the files, where the settings want one for this segment; what was measured."""
        name = f"{self.uuid}.vectors"
        vectors = read_arrays(self._directory.map(name, files["vectors"].size), name)["vectors"]
        settings = self._config.dense_settings
        made = write_dense_index(
            self._directory, f"{self.uuid}.{FAISS_SUFFIX}", vectors, self._norm, settings, self._threads
        )
        if made is None:
            return {}
        files[FAISS_SUFFIX], measured = made
        return measured

    def _document_arrays(self) -> dict[str, NDArray[Any]]:
        columns = self._columns
        hashes = np.frombuffer(b"".join(id_hash(value) for value in columns.ids), f"S{HASH_BYTES}")
        order = np.argsort(hashes, kind="stable")
        spans = np.concatenate(columns.spans) if columns.spans else np.empty((0, 2), np.int64)
        return {
            "ids": np.frombuffer(b"".join(columns.ids), np.uint8),
            "id_ends": np.concatenate(
                [np.zeros(1, np.int64), np.cumsum([len(value) for value in columns.ids], dtype=np.int64)]
            ),
            "id_hashes": np.frombuffer(hashes[order].tobytes(), np.uint8).reshape(-1, HASH_BYTES),
            "id_order": order.astype(np.uint32),
            "passage_ends": np.concatenate([np.zeros(1, np.int64), np.cumsum(columns.passages, dtype=np.int64)]),
            "spans": spans.astype(np.uint32),
        }

    def discard(self) -> None:
        """Forget everything; files that were not published go."""
        for writer in (self._vectors, self._tokens):
            if writer is not None:
                writer.discard()


@dataclass(frozen=True, slots=True, eq=False)
class SealedSegment:
    """A segment whose files are on the disk and whose arrays are ready for the store."""

    info: SegmentInfo
    blobs: Mapping[str, bytes]
    records: Sequence[bytes]

    @property
    def size(self) -> int:
        """Bytes that it will take in the store, roughly."""
        return sum(map(len, self.blobs.values())) + sum(map(len, self.records))

    def put(self, transaction: Any) -> None:  # noqa: ANN401 - lmdb is untyped
        """Write arrays and documents in a transaction."""
        key = self.info.key
        for name, blob in self.blobs.items():
            transaction.put(array_key(key, name), blob)
        for number, record in enumerate(self.records):
            transaction.put(document_key(key, number), record)


def id_hash(identifier: bytes) -> bytes:
    """16 bytes that stand for an id in the sorted column; equal hashes are told apart by the id itself.

    NUL bytes are no part of numpy's S16 order, so none may end a hash: the last byte is never 0.
    """
    digest = hashlib.blake2b(identifier, digest_size=HASH_BYTES).digest()
    return digest if digest[-1] else digest[:-1] + b"\x01"
