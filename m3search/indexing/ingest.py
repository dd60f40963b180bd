"""Ingest: documents -> passages -> encodings -> segments, for a build and for a live index alike.

Owns the pipeline; imports storage, analysis, records. Invariant: documents are consumed as they come, two chunks of them
ahead at most, and memory does not grow with their number; where the segments go is the business of a `Sink`.

With a `Journal`, what is encoded is committed chunk by chunk before it goes into a segment, and a build that was interrupted
takes what is there: its documents are read again and compared, and not encoded again.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from m3search.analysis.analyzer import Analyzer, word_spans
from m3search.analysis.passages import Cutter, whole
from m3search.errors import DocumentError, EncodingsError, ResumeError
from m3search.indexing.chunks import DOCUMENTS, Chunk, ChunkSize
from m3search.indexing.given_encodings import Window, batches_of, check_batch, config_of, given_passages, rows_of
from m3search.indexing.report import BuildReport
from m3search.indexing.schema import Schema
from m3search.indexing.sources.record import Record, from_iterable, read_documents
from m3search.indexing.trail import Trail
from m3search.records import Encodings, Passages
from m3search.storage import IndexConfig, PassageBatch, SealedSegment, SegmentWriter
from m3search.storage.journal import Journal, Mark

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.indexing.sources.record import Accepted
    from m3search.records import Document


class PassageEncoder(Protocol):
    """What the pipeline needs of an encoder."""

    @property
    def room(self) -> int:
        """Ordinary tokens of one passage."""
        ...

    @property
    def batch_tokens(self) -> int:
        """Tokens that go through the model at once."""
        ...

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Characters of every token."""
        ...

    def encode_groups(
        self,
        groups: Iterable[Sequence[str]],
        *,
        dense: bool = True,
        lexical: bool = True,
        colbert_codec: str | None = None,
    ) -> Iterator[Encodings]:
        """The outputs of groups of texts, one after the other, while the next one is read."""
        ...


class Sink(Protocol):
    """Where documents go: the stage of a build, or the next generation of a live index."""

    def known(self, document: Document) -> str:
        """Why a document of this id cannot come again, asked as it is read; "" where it can."""
        ...

    def present(self, documents: Sequence[Document]) -> list[str]:
        """Why each of these cannot come in beside what is indexed, asked of many at a time; "" where it can."""
        ...

    def begin(self, config: IndexConfig) -> None:
        """The widths of the vectors are known; called before the first document."""
        ...

    def new_segment(self) -> SegmentWriter:
        """An empty segment."""
        ...

    def placed(self, segment: SegmentWriter, first: int, documents: Sequence[Document]) -> None:
        """These documents stand in the segment, from this number on."""
        ...

    def add_segment(self, sealed: SealedSegment) -> None:
        """A segment is whole."""
        ...


class Ingest:
    """One pass over documents: `run` reads everything and hands whole segments to the sink.

    Attributes:
        config: with the widths that were found, once the first batch is there.
        report: what was done.
    """

    def __init__(
        self,
        sink: Sink,
        config: IndexConfig,
        *,
        colbert: bool = False,
        fixed: bool = False,
        progress: Callable[[int], None] = lambda _: None,
        report: BuildReport | None = None,
        schema: Schema | None = None,
        journal: Journal | None = None,
        held: int = 0,
    ) -> None:
        """Begins.

        Args:
            sink: takes the segments.
            config: of the index.
            colbert: whether given encodings must have token vectors.
            fixed: the config is that of an index with documents, and given encodings must be as it says.
            progress: called with the number of documents that were just done.
            report: goes on with the counts of an earlier pass.
            schema: fields that are there already; None: none are.
            journal: takes what is encoded, and gives what was before an interruption.
            held: documents that are in sealed segments since before the interruption.
        """
        self._sink = sink
        self.config = config
        self._encoder: PassageEncoder | None = None
        self._cutter: Cutter | None = None
        self._wants_colbert = colbert
        self._fixed = fixed
        self._schema = schema or Schema()
        self._analyzer = None if config.bm25 is None else Analyzer.from_dict(config.bm25["analyzer"])
        self._skip = False
        self._progress = progress
        self._segment: SegmentWriter | None = None
        self._begun = False
        self._journal = journal
        self.trail = None if journal is None else Trail(journal.path, journal.record.marks)
        self._held = held
        self._done = 0
        self.report = BuildReport() if report is None else report

    def run(
        self,
        documents: Iterable[object],
        encodings: Iterable[Encodings] | Encodings | None,
        *,
        encoder: PassageEncoder | None,
        skip: bool,
    ) -> None:
        """Take all documents; a segment that is not full stays open until `seal`.

        Args:
            documents: see `from_iterable`.
            encodings: vectors to take instead of encoding.
            encoder: for passages without given encodings; None: they have BM25 terms only.
            skip: whether bad records are left out and reported; else the first one raises.

        Raises:
            DocumentError, SourceError: a bad record, unless they are skipped.
            EncodingsError: encodings that do not go with the documents.
            StorageError: the disk is full or failing.
        """
        records = from_iterable(documents)
        self._encoder, self._skip = encoder, skip
        self._cutter = cutter_of(self.config, encoder)
        if encodings is None:
            self._begin(self.config)
            self._encode_all(records)
        else:
            self._take_all(records, batches_of(encodings))
            self._begin(self.config)
        if self.trail is not None:
            self.trail.check_end()

    def take(self, chunk: Chunk, encodings: Encodings, terms: Sequence[Mapping[str, int]] | None) -> None:
        """Take documents with all that belongs to their passages, beside or instead of `run`.

        Args:
            chunk: a bounded number.
            encodings: a row for each passage.
            terms: term frequencies of each passage; None: count them, if the index has BM25.
        """
        self._begin(self.config)
        self._append(chunk, encodings, terms)

    def seal(self) -> None:
        """Hand over the segment that is open."""
        if self._segment is not None:
            sealed = self._segment.seal()
            self._segment = None
            self._sink.add_segment(sealed)

    def discard(self) -> None:
        """Forget the segment that is open."""
        if self._segment is not None:
            self._segment.discard()
            self._segment = None

    # -- where encodings come from --

    def _encode_all(self, records: Iterator[Record]) -> None:
        """Encode chunk by chunk; without an encoder passages have BM25 terms only."""
        accepted = self._accepted(records)
        if self._journal is not None and self._journal.resumed:
            self._take_journal(self._journal, accepted)
        encoder, config = self._encoder, self.config
        if encoder is None:
            for found in ChunkSize.of(0, None).cut(accepted):
                self._append(self._chunk(found), Encodings())
            return
        pending: deque[Chunk] = deque()

        def contents() -> Iterator[list[str]]:
            for found in ChunkSize.of(encoder.batch_tokens, config.colbert_dim).cut(accepted):
                pending.append(self._chunk(found))
                yield pending[-1].contents

        encoded = encoder.encode_groups(
            contents(),
            dense=config.dense_dim is not None,
            lexical=config.vocab_size is not None,
            colbert_codec=None if config.colbert_dim is None else config.colbert_codec,
        )
        for encodings in encoded:
            chunk = pending.popleft()
            if self._journal is not None and chunk.accepted:
                end = Mark(self._done + len(chunk.accepted), chunk.accepted[-1].digest)
                self._journal.put(encodings, self._done, end)
            self._append(chunk, encodings)

    def _chunk(self, found: Sequence[Accepted]) -> Chunk:
        """The documents among these that may come in, with their passages."""
        accepted = self._welcome(found)
        documents = [one.document for one in accepted]
        passages = [whole(one) for one in documents] if self._cutter is None else self._cutter.split(documents)
        for document, its in zip(documents, passages, strict=True):
            if not its:
                self.report.empty.add(document.id)
        return Chunk(accepted, passages)

    def _take_journal(self, journal: Journal, accepted: Iterator[Accepted]) -> None:
        """Take what is encoded already, up to the last mark; the documents are read and compared only."""
        chunks = journal.record.chunks
        sealed = chunks[0].first if chunks else self._held
        for one in itertools.islice(accepted, sealed):
            if not whole(one.document):
                self.report.empty.add(one.document.id)
            self._progress(1)
        self._done = sealed
        self._held -= sealed
        for chunk in chunks:
            found = list(itertools.islice(accepted, chunk.mark.documents - chunk.first))
            if self.trail is not None and self.trail.documents < chunk.mark.documents:
                self.trail.check_end()
            documents, encodings = self._chunk(found), journal.read(chunk, self.config)
            if len(documents.contents) != len(encodings):
                raise ResumeError(
                    f"the interrupted build in {journal.path} cut documents {chunk.first + 1:,} to {chunk.mark.documents:,} "
                    f"into {len(encodings):,} passages, now they make {len(documents.contents):,}: resume with the version of "
                    f"m3search that began it, or leave resume out to begin anew"
                )
            self._append(documents, encodings)

    def _take_all(self, records: Iterator[Record], batches: Iterator[Encodings]) -> None:
        """Take given encodings, batch by batch, with the records that belong to them."""
        first = 0
        for batch in batches:
            self._begin(config_of(self.config, batch))
            check_batch(self.config, batch, first, index=self._fixed)
            if self._wants_colbert and batch.colbert is None:
                raise EncodingsError(
                    "token vectors are to be stored (colbert is set), but the encodings have none: leave colbert out, "
                    "or give them"
                )
            count = batch.documents
            taken = Window(records, count)
            accepted = list(self._accepted(taken, first))
            if taken.left:
                raise EncodingsError(
                    f"there are encodings for at least {first + count:,} documents, but only {first + count - taken.left:,} "
                    f"documents: give both in the same number and order"
                )
            accepted = self._welcome(accepted)
            rows = [found.ordinal - first for found in accepted]
            passages = [given_passages(found.document, batch, row) for found, row in zip(accepted, rows, strict=True)]
            self._append(Chunk(accepted, passages), rows_of(batch, rows))
            first += count
        for record in records:
            raise EncodingsError(
                f"{record.where}: there is a document without encodings after {first:,} with them: give both in the same "
                f"number and order"
            )

    # -- one document after the other --

    def _accepted(self, records: Iterable[Record], first: int = 0) -> Iterator[Accepted]:
        """Valid documents whose ids may come; `first` is the ordinal of the first record."""
        for accepted in read_documents(records, self.report.skipped if self._skip else None, first):
            if error := self._schema.misfit(accepted):
                self._refuse(error)
                continue
            why = self._sink.known(accepted.document)
            if not why:
                self._schema.learn(accepted.document)
                yield accepted if self.trail is None else accepted._replace(digest=self.trail.take(accepted))
            else:
                self._reject(accepted, why)

    def _welcome(self, found: Sequence[Accepted]) -> list[Accepted]:
        """Those of them that may come in beside what is indexed."""
        reasons = self._sink.present([accepted.document for accepted in found])
        for accepted, why in zip(found, reasons, strict=True):
            if why:
                self._reject(accepted, why)
        return [accepted for accepted, why in zip(found, reasons, strict=True) if not why]

    def _reject(self, accepted: Accepted, why: str) -> None:
        name = accepted.document.id
        where = accepted.where
        self._refuse(DocumentError(f"{where}: the id {name!r} {why}", where=where, doc_id=name, kind="duplicate id"))

    def _refuse(self, error: DocumentError) -> None:
        if not self._skip:
            raise error
        self.report.skipped.add(error)

    def _append(self, chunk: Chunk, encodings: Encodings, terms: Sequence[Mapping[str, int]] | None = None) -> None:
        """Write documents into segments, beginning a new one where one is full."""
        documents, sizes = chunk.documents, [len(found) for found in chunk.passages]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        start = min(self._held, len(documents))
        self._held -= start
        self._done += start
        passages = [passage for found in chunk.passages[start:] for passage in found]
        spans = np.array([passage.span for passage in passages], np.int64).reshape(-1, 2)
        if self._analyzer is not None and terms is None:
            terms = [self._analyzer.counts(passage.content) for passage in passages]
        self.report.documents += len(documents) - start
        self.report.passages += len(passages)
        first = int(offsets[start])
        while start < len(documents):
            segment = self._open_segment()
            number = segment.documents
            stop = _fitting(offsets, start, segment)
            rows = slice(int(offsets[start]), int(offsets[stop]))
            new = slice(rows.start - first, rows.stop - first)
            segment.append(
                PassageBatch(
                    documents=documents[start:stop],
                    offsets=offsets[start : stop + 1] - offsets[start],
                    spans=spans[new],
                    dense=None if encodings.dense is None else encodings.dense[rows],
                    lexical=None if encodings.lexical is None else encodings.lexical[rows],
                    colbert=None if encodings.colbert is None else encodings.colbert[rows],
                    terms=None if terms is None else terms[new],
                )
            )
            self._sink.placed(segment, number, documents[start:stop])
            self._done += stop - start
            if self._journal is not None:
                self._journal.reached = Mark(self._done, chunk.accepted[stop - 1].digest)
            if segment.full:
                self.seal()
            start = stop
        self._progress(len(documents))

    def _begin(self, config: IndexConfig) -> None:
        if not self._begun:
            if not self._fixed:
                self.config = config
            self._sink.begin(self.config)
            self._begun = True

    def _open_segment(self) -> SegmentWriter:
        if self._segment is None:
            self._segment = self._sink.new_segment()
        return self._segment


def cutter_of(config: IndexConfig, encoder: PassageEncoder | None) -> Cutter | None:
    """What cuts the documents of an index; None: they stay whole.

    Raises:
        InputError: longer passages are wanted than the encoder takes.
    """
    passages = config.passages or Passages()
    room = passages.room(None if encoder is None else encoder.room)
    if room is None:
        return None
    language = None if config.bm25 is None else config.bm25["analyzer"]["language"]
    spans = word_spans if encoder is None else encoder.token_spans
    return Cutter(room, spans, passages.overlap, passages.by, language)


def _fitting(offsets: NDArray[np.int64], start: int, segment: SegmentWriter) -> int:
    """One past the last document that fits into the segment; one at least, and all its passages go with it.

    A step is bounded, so that the segment's memory is looked at between steps also where encodings come all at once.
    """
    passages = offsets[start] + segment.capacity - segment.passages
    stop = int(np.searchsorted(offsets, passages, side="right")) - 1
    return max(start + 1, min(stop, start + segment.capacity - segment.documents, start + DOCUMENTS))
