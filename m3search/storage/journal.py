"""Journal: what a build has encoded, committed chunk by chunk, so that a build that was stopped goes on where it stood.

Imports the directory's array files and the codec; the writer commits its record together with the stage. Invariant: the
record names only files that are on the disk, and a document's encodings are in a sealed segment of the stage or in the
journal, from the first document to the last mark without a gap.

A segment's postings and vectors are whole only when it is sealed, which for a large model and 100,000 passages takes hours.
So each chunk of encodings, some hundreds of documents, becomes a file of its own and is committed before it goes into the
segment. Sealing the segment drops the chunks that are all in it. Who resumes reads the source again, which costs next to
nothing beside encoding it, compares it with the marks, feeds the journal's chunks into a segment and encodes what follows:
the same calls with the same bits as without the interruption, so what is built is the same, too. The alternative, small
segments that are merged at the end, would write every posting twice, leave what they took in the store as free pages, and
have other boundaries of segments. The journal costs two fsyncs and a commit a chunk, and on the disk the encodings of one
open segment a second time until that is sealed.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from m3search.errors import CorruptionError, IndexFormatError, M3SearchError
from m3search.records import Encodings
from m3search.records.token_codes import TokenCodes
from m3search.storage.array_file import ArrayFileWriter, read_arrays
from m3search.storage.codec import checksum, pack_record, unpack_record
from m3search.storage.keys import JOURNAL_KEY
from m3search.storage.stores import holds_index, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from m3search.storage.index_writer import IndexWriter
    from m3search.storage.manifest import IndexConfig

_VERSION = 1
_TOKEN_ARRAYS = ("codes", "ends", "scales", "signs")


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a build has come.

    Attributes:
        documents: so many of the source are taken.
        digest: of all of them, see `indexing/trail.py`.
    """

    documents: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class JournalChunk:
    """Encodings of some documents.

    Attributes:
        first: number of the first document.
        mark: how far they reach.
        size: of the file.
        checksum: of the file.
    """

    first: int
    mark: Mark
    size: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """What the store holds of a journal.

    Attributes:
        name: begins the names of its files.
        settings: of the build, beside the index's config.
        sealed: the marks at the ends of the sealed segments.
        chunks: that are not all in sealed segments, in order.
    """

    name: str
    settings: Mapping[str, str]
    sealed: tuple[Mark, ...] = ()
    chunks: tuple[JournalChunk, ...] = ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All marks, in order."""
        last = self.sealed[-1].documents if self.sealed else 0
        return (*self.sealed, *(chunk.mark for chunk in self.chunks if chunk.mark.documents > last))

    @property
    def documents(self) -> int:
        """Documents that need not be encoded again."""
        return self.marks[-1].documents if self.marks else 0

    def pack(self) -> bytes:
        """As a record for the store."""
        value = {
            "version": _VERSION,
            "name": self.name,
            "settings": dict(self.settings),
            "sealed": [[mark.documents, mark.digest] for mark in self.sealed],
            "chunks": [[one.first, one.mark.documents, one.mark.digest, one.size, one.checksum] for one in self.chunks],
        }
        return pack_record(value, JOURNAL_KEY)

    @classmethod
    def unpack(cls, blob: bytes | memoryview, where: str) -> Self:
        """From what `pack` made.

        Raises:
            CorruptionError: the record is not what was written.
            IndexFormatError: a newer version wrote it.
        """
        value = unpack_record(blob, JOURNAL_KEY, where)
        try:
            if value["version"] > _VERSION:
                raise IndexFormatError(f"{where} was written by a newer m3search: upgrade m3search")
            return cls(
                value["name"],
                value["settings"],
                tuple(Mark(*mark) for mark in value["sealed"]),
                tuple(JournalChunk(one[0], Mark(one[1], one[2]), *one[3:]) for one in value["chunks"]),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise CorruptionError(f"{where} is incomplete ({error}): build again without resume") from error


class Journal:
    """The journal of a build.

    Attributes:
        record: as it was last committed.
        reached: how far the open segment has come.
        resumed: the build goes on after an interruption.
    """

    def __init__(self, writer: IndexWriter, record: JournalRecord, *, resumed: bool) -> None:
        self._writer = writer
        self.record = record
        self.resumed = resumed
        self.reached: Mark | None = None

    @classmethod
    def new(cls, writer: IndexWriter, settings: Mapping[str, str]) -> Self:
        """An empty one, which `IndexWriter.stage` commits."""
        return cls(writer, JournalRecord(uuid.uuid4().hex, settings), resumed=False)

    @classmethod
    def left(cls, writer: IndexWriter) -> Self | None:
        """That of the build which was interrupted here, or None; files that never came to be named go."""
        record = writer.journal_record()
        if record is None:
            return None
        named = {_file_name(record, chunk.first) for chunk in record.chunks}
        for name in writer.directory.names():
            if name.startswith(f"{record.name}.") and name not in named:
                writer.directory.remove(name)
        return cls(writer, record, resumed=True)

    @property
    def path(self) -> Path:
        """Of the index."""
        return self._writer.path

    def put(self, encodings: Encodings, first: int, mark: Mark) -> None:
        """Commit the encodings of the documents from number `first` to a mark; durable when it returns.

        Raises:
            StorageError: the disk is full or failing.
        """
        file = ArrayFileWriter(self._writer.directory, _file_name(self.record, first))
        try:
            _write(file, encodings)
            size, digest = file.publish()
        except BaseException:
            file.discard()
            raise
        after = replace(self.record, chunks=(*self.record.chunks, JournalChunk(first, mark, size, digest)))
        with self._writer.commit() as transaction:
            transaction.put(JOURNAL_KEY, after.pack())
        self.record = after

    def read(self, chunk: JournalChunk, config: IndexConfig) -> Encodings:
        """A chunk's encodings, with every byte checked.

        Raises:
            CorruptionError: its file is damaged or gone.
        """
        name = _file_name(self.record, chunk.first)
        try:
            data = self._writer.directory.map(name, chunk.size)
        except FileNotFoundError as error:
            raise CorruptionError(f"the journal's file {name} is gone: build again without resume") from error
        if checksum(data) != chunk.checksum:
            raise CorruptionError(f"the journal's file {name} does not match its checksum: build again without resume")
        return _read(read_arrays(data, name), config)

    def sealed(self) -> JournalRecord:
        """The record once what was reached is in sealed segments, to be committed with the last of these."""
        reached = self.reached
        if reached is None:
            return self.record
        left = tuple(chunk for chunk in self.record.chunks if chunk.mark.documents > reached.documents)
        return replace(self.record, sealed=(*self.record.sealed, reached), chunks=left)

    def became(self, record: JournalRecord) -> None:
        """The record was committed: files that it no longer names go."""
        gone = {chunk.first for chunk in self.record.chunks} - {chunk.first for chunk in record.chunks}
        self.record = record
        for first in gone:
            self._writer.directory.remove(_file_name(record, first))


def _file_name(record: JournalRecord, first: int) -> str:
    return f"{record.name}.{first}"


def unfinished(path: Path) -> int:
    """Documents that an interrupted build has left encoded at a path; 0 where there is none, or none that can be read."""
    if not holds_index(path):
        return 0
    with contextlib.suppress(M3SearchError):
        environment = open_store(path)
        try:
            with environment.read() as transaction:
                blob = transaction.get(JOURNAL_KEY)
                return 0 if blob is None else JournalRecord.unpack(bytes(blob), f"the journal of {path}").documents
        finally:
            environment.close()
    return 0


def _write(file: ArrayFileWriter, encodings: Encodings) -> None:
    def put(name: str, dtype: str, array: NDArray[Any]) -> None:
        file.begin(name, dtype, array.shape[1] if array.ndim == 2 else None)
        file.append(array)

    if encodings.dense is not None:
        put("dense", "<f4", encodings.dense)
    if encodings.lexical is not None:
        put("lexical_ends", "<i8", encodings.lexical.indptr)
        put("lexical_ids", "<u4", encodings.lexical.indices)
        put("lexical_weights", "<f4", encodings.lexical.data)
    if isinstance(encodings.colbert, TokenCodes):
        for name in _TOKEN_ARRAYS:
            array = getattr(encodings.colbert, name)
            if array is not None:
                put(name, array.dtype.str, array)


def _read(arrays: Mapping[str, NDArray[Any]], config: IndexConfig) -> Encodings:
    lexical = colbert = None
    if "lexical_ends" in arrays:
        ends = arrays["lexical_ends"]
        ids = arrays["lexical_ids"].astype(np.int32)
        lexical = sparse.csr_array((arrays["lexical_weights"], ids, ends), shape=(len(ends) - 1, config.vocab_size))
    if "codes" in arrays:
        colbert = TokenCodes(config.colbert_codec, *(arrays.get(name) for name in _TOKEN_ARRAYS))  # type: ignore[arg-type]
    return Encodings(dense=arrays.get("dense"), lexical=lexical, colbert=colbert)
