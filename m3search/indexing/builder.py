"""Builder: documents -> passages -> encodings -> segments -> published.

Owns the pipeline of a build; imports storage, analysis, records. Invariant: documents are consumed as they come and memory
does not grow with their number; whatever fails leaves the index that stood there as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from m3search.analysis.analyzer import Analyzer
from m3search.analysis.passages import Passage, split, whole
from m3search.errors import DocumentError, EncodingsError
from m3search.indexing.report import EmptyReport, SkipReport
from m3search.indexing.seen_ids import SeenIds
from m3search.indexing.sources.record import Record, from_iterable, read_documents
from m3search.records import Encodings
from m3search.storage import IndexConfig, IndexWriter, PassageBatch, SegmentWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.indexing.sources.record import Accepted
    from m3search.records import Document

_CHUNK_DOCUMENTS = 512
_CHUNK_CHARACTERS = 1_000_000  # sorts enough texts by length to fill batches, and bounds the vectors in memory
_CHUNK_TOKEN_BYTES = 512 * 2**20  # of token vectors, where every character is a token; of English, a quarter


class PassageEncoder(Protocol):
    """What a build needs of an encoder."""

    @property
    def room(self) -> int:
        """Ordinary tokens of one passage."""
        ...

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Characters of every token."""
        ...

    def encode(
        self, texts: Sequence[str], *, dense: bool = True, lexical: bool = True, colbert: bool = False
    ) -> Encodings:
        """The outputs of texts."""
        ...


@dataclass(slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        documents: how many were indexed.
        passages: how many scored units they have.
        skipped: records that were left out.
        empty: documents without text.
        seconds: how long it took, from the first document to the commit.
    """

    documents: int = 0
    passages: int = 0
    seconds: float = 0.0
    skipped: SkipReport = field(default_factory=SkipReport)
    empty: EmptyReport = field(default_factory=EmptyReport)

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "documents": self.documents,
            "passages": self.passages,
            "seconds": self.seconds,
            "skipped": self.skipped.to_dict(),
            "empty": self.empty.to_dict(),
        }


class Builder:
    """One build: `run` reads everything and publishes."""

    def __init__(
        self,
        writer: IndexWriter,
        config: IndexConfig,
        *,
        encoder: PassageEncoder | None,
        colbert: bool,
        skip: bool,
        progress: Callable[[int], None],
    ) -> None:
        self._writer = writer
        self._config = config
        self._encoder = encoder
        self._wants_colbert = colbert
        self._analyzer = None if config.bm25 is None else Analyzer.from_dict(config.bm25["analyzer"])
        self._skip = skip
        self._progress = progress
        self._seen = SeenIds()
        self._segment: SegmentWriter | None = None
        self._staged = False
        self.report = BuildReport()

    def run(self, documents: Iterable[object], encodings: Iterable[Encodings] | Encodings | None) -> BuildReport:
        """Build and publish.

        Raises:
            DocumentError, SourceError: a bad record, unless they are skipped.
            EncodingsError: encodings that do not go with the documents.
            StorageError: the disk is full or failing.
        """
        started = time.perf_counter()
        records = from_iterable(documents)
        try:
            if encodings is None:
                self._stage(self._config)
                self._encode_all(records)
            else:
                self._take_all(records, _batches(encodings))
            self._seal()
            self._stage(self._config)
        except BaseException:
            if self._segment is not None:
                self._segment.discard()
            raise
        self._writer.publish()
        self.report.seconds = time.perf_counter() - started
        return self.report

    # -- where encodings come from --

    def _encode_all(self, records: Iterator[Record]) -> None:
        """Encode chunk by chunk; without an encoder passages have BM25 terms only."""
        chunk: list[Document] = []
        characters, limit = 0, _CHUNK_CHARACTERS
        if self._config.colbert_dim is not None:
            limit = min(limit, _CHUNK_TOKEN_BYTES // (4 * self._config.colbert_dim))
        for accepted in self._accepted(records):
            chunk.append(accepted.document)
            characters += len(accepted.document.content)
            if len(chunk) >= _CHUNK_DOCUMENTS or characters >= limit:
                self._encode_chunk(chunk)
                chunk, characters = [], 0
        if chunk:
            self._encode_chunk(chunk)

    def _encode_chunk(self, documents: Sequence[Document]) -> None:
        encoder = self._encoder
        if encoder is None:
            passages = [whole(document) for document in documents]
        else:
            passages = split(documents, encoder.room, encoder.token_spans)
        for document, found in zip(documents, passages, strict=True):
            if not found:
                self.report.empty.add(document.id)
        contents = [passage.content for found in passages for passage in found]
        encodings = Encodings()
        if encoder is not None and contents:
            config = self._config
            encodings = encoder.encode(
                contents, lexical=config.vocab_size is not None, colbert=config.colbert_dim is not None
            )
        self._append(documents, passages, encodings)

    def _take_all(self, records: Iterator[Record], batches: Iterator[Encodings]) -> None:
        """Take given encodings, batch by batch, with the records that belong to them."""
        first = 0
        for batch in batches:
            self._stage(_config_of(self._config, batch))
            self._check(batch, first)
            count = batch.documents
            taken = _Window(records, count)
            accepted = list(self._accepted(taken, first))
            if taken.left:
                raise EncodingsError(
                    f"there are encodings for at least {first + count:,} documents, but only {first + count - taken.left:,} "
                    f"documents: give both in the same number and order"
                )
            rows = [found.ordinal - first for found in accepted]
            documents = [found.document for found in accepted]
            self._append(
                documents,
                [_given(document, batch, row) for document, row in zip(documents, rows, strict=True)],
                _rows_of(batch, rows),
            )
            first += count
        for record in records:
            raise EncodingsError(
                f"{record.where}: there is a document without encodings after {first:,} with them: give both in the same "
                f"number and order"
            )

    def _check(self, batch: Encodings, first: int) -> None:
        found, config = _config_of(self._config, batch), self._config
        self._check_encoder(found)
        if self._wants_colbert and batch.colbert is None:
            raise EncodingsError(
                "token vectors are to be stored (colbert is set), but the encodings have none: leave colbert out, or give them"
            )
        for name in ("dense_dim", "vocab_size", "colbert_dim"):
            mine, its = getattr(config, name), getattr(found, name)
            if mine != its and not (name == "colbert_dim" and batch.colbert is not None and not len(batch)):
                raise EncodingsError(
                    f"the encodings from document {first:,} on have {name} {its}, those before have {mine}: "
                    f"every batch must have the same outputs in the same width"
                )

    def _check_encoder(self, found: IndexConfig) -> None:
        """Whether the encoder that is to encode the queries makes vectors like these."""
        encoder = found.encoder
        if encoder is None:
            return
        wanted = {"dense_dim": encoder.dim, "vocab_size": encoder.vocab_size, "colbert_dim": encoder.colbert_dim}
        for name, own in wanted.items():
            its = getattr(found, name)
            if its not in {None, own}:
                raise EncodingsError(
                    f"the encodings have {name} {its}, those of the encoder {encoder.name!r} have {own}: "
                    f"give the encoder that made them, or encoder=None"
                )

    # -- one document after the other --

    def _accepted(self, records: Iterable[Record], first: int = 0) -> Iterator[Accepted]:
        """Valid documents with new ids; `first` is the ordinal of the first record."""
        for accepted in read_documents(records, self.report.skipped if self._skip else None, first):
            if self._seen.add(accepted.document.id):
                yield accepted
                continue
            error = DocumentError(
                f"{accepted.where}: the id {accepted.document.id!r} was there before: ids are unique in an index; rename one, "
                f"or skip it with on_error='skip'",
                where=accepted.where,
                doc_id=accepted.document.id,
                kind="duplicate id",
            )
            if not self._skip:
                raise error
            self.report.skipped.add(error)

    def _append(
        self, documents: Sequence[Document], passages: Sequence[Sequence[Passage]], encodings: Encodings
    ) -> None:
        """Write documents into segments, beginning a new one where one is full."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(found) for found in passages], dtype=np.int64)])
        spans = np.array([passage.span for found in passages for passage in found], np.int64).reshape(-1, 2)
        terms = None
        if self._analyzer is not None:
            terms = [self._analyzer.counts(passage.content) for found in passages for passage in found]
        start = 0
        while start < len(documents):
            segment = self._open_segment()
            stop = _fitting(offsets, start, segment)
            rows = slice(int(offsets[start]), int(offsets[stop]))
            segment.append(
                PassageBatch(
                    documents=documents[start:stop],
                    offsets=offsets[start : stop + 1] - offsets[start],
                    spans=spans[rows],
                    dense=None if encodings.dense is None else encodings.dense[rows],
                    lexical=None if encodings.lexical is None else encodings.lexical[rows],
                    colbert=None if encodings.colbert is None else encodings.colbert[rows],
                    terms=None if terms is None else terms[rows],
                )
            )
            if segment.full:
                self._seal()
            start = stop
        self.report.documents += len(documents)
        self.report.passages += len(spans)
        self._progress(len(documents))

    def _stage(self, config: IndexConfig) -> None:
        if not self._staged:
            self._config = config
            self._writer.stage(config)
            self._staged = True

    def _open_segment(self) -> SegmentWriter:
        if self._segment is None:
            self._segment = self._writer.new_segment()
        return self._segment

    def _seal(self) -> None:
        if self._segment is not None:
            sealed = self._segment.seal()
            self._segment = None
            self._writer.add_segment(sealed)


def _batches(encodings: Iterable[Encodings] | Encodings) -> Iterator[Encodings]:
    if isinstance(encodings, Encodings) or not isinstance(encodings, Iterable):
        encodings = [encodings]
    for batch in encodings:
        if not isinstance(batch, Encodings):
            raise EncodingsError(
                f"the encodings are of type {type(batch).__name__}: give Encodings, or an iterable of them"
            )
        yield batch


class _Window:
    """The next `left` of an iterator; what is left tells whether it ended before."""

    def __init__(self, records: Iterator[Record], left: int) -> None:
        self.left = left
        self._records = records

    def __iter__(self) -> Iterator[Record]:
        while self.left:
            record = next(self._records, None)
            if record is None:
                return
            self.left -= 1
            yield record


def _fitting(offsets: NDArray[np.int64], start: int, segment: SegmentWriter) -> int:
    """One past the last document that fits into the segment; one at least, and all its passages go with it.

    A step is bounded, so that the segment's memory is looked at between steps also where encodings come all at once.
    """
    passages = offsets[start] + segment.capacity - segment.passages
    stop = int(np.searchsorted(offsets, passages, side="right")) - 1
    return max(start + 1, min(stop, start + segment.capacity - segment.documents, start + _CHUNK_DOCUMENTS))


def _config_of(config: IndexConfig, batch: Encodings) -> IndexConfig:
    colbert = config.colbert_dim
    if batch.colbert is None:
        colbert = None
    elif len(batch.colbert):
        colbert = int(batch.colbert[0].shape[1])
    return replace(
        config,
        dense_dim=None if batch.dense is None else int(batch.dense.shape[1]),
        vocab_size=None if batch.lexical is None else int(batch.lexical.shape[1]),
        colbert_dim=colbert,
    )


def _given(document: Document, batch: Encodings, row: int) -> list[Passage]:
    """As many passages as the encodings have rows for the document; where each lies in the text is not known."""
    count = 1 if batch.offsets is None else int(batch.offsets[row + 1] - batch.offsets[row])
    return [Passage((0, len(document.text)), document.content)] * count


def _rows_of(batch: Encodings, documents: Sequence[int]) -> Encodings:
    """The rows of some of a batch's documents."""
    offsets = np.arange(len(batch) + 1) if batch.offsets is None else batch.offsets
    rows: list[int] = [row for number in documents for row in range(int(offsets[number]), int(offsets[number + 1]))]
    if len(rows) == len(batch):
        return batch
    index: Any = np.array(rows, np.int64)
    return Encodings(
        dense=None if batch.dense is None else batch.dense[index],
        lexical=None if batch.lexical is None else batch.lexical[index],
        colbert=None if batch.colbert is None else [batch.colbert[row] for row in rows],
    )
