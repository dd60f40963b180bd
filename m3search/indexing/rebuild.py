"""Rebuild: an index made of another's stored vectors and texts, with other settings, encoding nothing.

Imports the pipeline, storage and analysis; needs no model. Invariant: what is not asked to change is copied as it is stored, so
scores change only where a setting does; what is read was checked, and deleted documents are left out.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from m3search.analysis.passages import Passage
from m3search.errors import InputError
from m3search.indexing.build_config import bm25_config
from m3search.indexing.chunks import Chunk
from m3search.indexing.ingest import Ingest
from m3search.indexing.progress import progress_bar
from m3search.indexing.sources.record import Accepted
from m3search.records import Encodings, Weights, check_codec
from m3search.records.token_codes import TokenCodes
from m3search.storage import DenseSettings, IndexWriter, Snapshot, open_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from m3search.indexing.report import BuildReport
    from m3search.records import Document, WeightsLike
    from m3search.storage import IndexConfig, SealedSegment, Segment, SegmentWriter

_DOCUMENTS = 512
_PASSAGES = 4096
_TOKEN_BYTES = 64 * 2**20


def rebuilt_config(
    config: IndexConfig,
    dense: str | None,
    dense_options: Mapping[str, int] | None,
    colbert: str | bool | None,
    bm25: bool | Mapping[str, Any] | None,
    segment_size: int | None,
    weights: WeightsLike,
) -> IndexConfig:
    """What an index with this config becomes; None leaves a setting as it is.

    Args:
        config: of the index.
        dense: as for a build.
        dense_options: as for a build.
        colbert: another codec; False leaves the token vectors out.
        bm25: False leaves BM25 out; a mapping changes what it names.
        segment_size: as for a build.
        weights: as for a build.

    Raises:
        InputError: a setting that there is not, or that the index has not stored enough for.
    """
    if dense is not None or dense_options is not None:
        if config.dense_dim is None:
            raise InputError("this index has no dense vectors: leave dense out")
        made = DenseSettings.of(config.dense_kind if dense is None else dense, dense_options)
        config = replace(config, dense_kind=made.kind, dense_options=made.options)
    if colbert is False:
        config = replace(config, colbert_dim=None, colbert_codec="int8")
    elif colbert is not None:
        config = replace(config, colbert_codec=_codec(config, colbert))
    if bm25 is not None:
        config = replace(config, bm25=_bm25(config.bm25, bm25))
    if segment_size is not None:
        if isinstance(segment_size, bool) or not isinstance(segment_size, int) or not 1 <= segment_size <= 2**31:
            raise InputError(f"segment_size is {segment_size!r}: give a whole number from 1")
        config = replace(config, segment_size=segment_size)
    if not config.legs:
        raise InputError("nothing would be left to search: keep BM25")
    if weights is not None:
        chosen = Weights.of(weights)
        if not isinstance(weights, str) and (missing := set(chosen.positive()) - set(config.legs)):
            raise InputError(f"weights name {min(missing)}, which the new index will not have: leave it out")
        config = replace(config, weights=chosen)
    return config


def _codec(config: IndexConfig, colbert: object) -> str:
    if not isinstance(colbert, str):
        raise InputError(f"colbert is {colbert!r}: give a codec, or False to leave token vectors out")
    codec = check_codec(colbert)
    if config.colbert_dim is None:
        raise InputError("this index has no token vectors, and making them takes the encoder: build again with colbert")
    none = TokenCodes.code([], config.colbert_codec, dim=config.colbert_dim)
    return none.recoded(codec).codec  # says what cannot be


def _bm25(before: Mapping[str, Any] | None, bm25: bool | Mapping[str, Any]) -> dict[str, Any] | None:
    if before is None or isinstance(bm25, bool):
        return dict(before) if before is not None and bm25 is True else bm25_config(bm25)
    kept = {name: before[name] for name in ("k1", "b")}
    made = bm25_config({**kept, **bm25})
    if made is not None and "language" not in bm25:
        made["analyzer"] = before["analyzer"]
    return made


def rebuild_index(
    path: Path,
    to: Path,
    changed: Callable[[IndexConfig], IndexConfig],
    *,
    overwrite: bool,
    threads: int | None,
    progress: bool,
) -> BuildReport:
    """Make the new index; arguments and errors are those of `Index.rebuild`, and `changed` says what becomes of a config."""
    if to.resolve() == path.resolve():
        raise InputError(f"{to} is the index itself: name another folder for the new one")
    environment, snapshot = open_latest(path)
    try:
        with snapshot:
            config = changed(snapshot.manifest.config)
            writer = IndexWriter.for_build(to, overwrite=overwrite)
            writer.threads = threads
            try:
                with progress_bar(snapshot.documents or None, enabled=progress, what="rebuilding") as advance:
                    report = Rebuild(snapshot, writer, config, progress=advance).run()
            except BaseException:
                writer.discard_unfinished()
                raise
            writer.close()
            return report
    finally:
        environment.close()


class Rebuild:
    """One rebuild: `run` copies everything and publishes."""

    def __init__(
        self, snapshot: Snapshot, writer: IndexWriter, config: IndexConfig, *, progress: Callable[[int], None]
    ) -> None:
        """Begins.

        Args:
            snapshot: is copied.
            writer: of the new index, with an empty stage.
            config: of the new index, see `rebuilt_config`.
            progress: called with the number of documents that were just done.
        """
        self._snapshot = snapshot
        self._writer = writer
        self._config = config
        self._ingest = Ingest(self, config, progress=progress)
        before = snapshot.manifest.config.bm25
        self._keeps_terms = (
            before is not None and config.bm25 is not None and before["analyzer"] == config.bm25["analyzer"]
        )

    def run(self) -> BuildReport:
        """Copy and publish.

        Raises:
            CorruptionError: the index is damaged.
            StorageError: the disk is full or failing.
        """
        started = time.perf_counter()
        report = self._ingest.report
        try:
            self._ingest.run((), None, encoder=None, skip=False)  # begins the stage, also of an index without documents
            for info in self._snapshot.manifest.segments:
                if info.deleted < info.documents:
                    self._copy(self._snapshot.verified(info))
            self._ingest.seal()
        except BaseException:
            self._ingest.discard()
            raise
        self._writer.publish()
        report.seconds = time.perf_counter() - started
        return report

    def _copy(self, segment: Segment) -> None:
        tokens = None
        if self._config.colbert_dim is not None and segment.tokens is not None:
            stored, codec = segment.tokens, self._snapshot.manifest.config.colbert_codec
            tokens = TokenCodes(codec, stored.codes, stored.ends, stored.scales, stored.signs)
        for documents in _chunks(segment, tokens):
            rows = segment.passages_of(documents)
            found = [self._snapshot.document(segment, number) for number in documents.tolist()]
            sizes = np.diff(segment.passage_ends)[documents].tolist()
            spans = segment.spans[rows].astype(np.int64)
            parts = np.split(spans, np.cumsum(sizes)[:-1])
            passages = [passages_of(document, part) for document, part in zip(found, parts, strict=True)]
            accepted = [Accepted(number, "", document) for number, document in enumerate(found)]
            self._ingest.take(
                Chunk(accepted, passages),
                Encodings(
                    dense=None if segment.vectors is None else segment.vectors[rows],
                    lexical=self._lexical(segment, rows),
                    colbert=None
                    if tokens is None
                    else TokenCodes.select([tokens], rows).recoded(self._config.colbert_codec),
                ),
                _terms(segment, rows) if self._keeps_terms else None,
            )

    def _lexical(self, segment: Segment, rows: NDArray[np.int64]) -> sparse.csr_array | None:
        if self._config.vocab_size is None:
            return None
        field = segment.fields["lexical"]
        sizes, numbers, weights = field.gather(rows)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        columns = field.terms[numbers].astype(np.int64)
        return sparse.csr_array((weights.astype(np.float32), columns, ends), shape=(len(rows), self._config.vocab_size))

    # -- the sink --

    def known(self, document: Document) -> str:  # noqa: ARG002 - of the protocol
        """Ids are unique where they come from."""
        return ""

    def present(self, documents: Sequence[Document]) -> list[str]:
        """Nothing is indexed yet."""
        return [""] * len(documents)

    def begin(self, config: IndexConfig) -> None:
        """Begin the stage."""
        self._writer.stage(config)

    def new_segment(self) -> SegmentWriter:
        """A segment for the stage."""
        return self._writer.new_segment()

    def placed(self, segment: SegmentWriter, first: int, documents: Sequence[Document]) -> None:
        """Nobody asks where a document is."""

    def add_segment(self, sealed: SealedSegment) -> None:
        """Commit a segment to the stage."""
        self._writer.add_segment(sealed)


def _chunks(segment: Segment, tokens: TokenCodes | None) -> Iterator[NDArray[np.int64]]:
    """The living documents, a bounded number of them, of passages and of token vectors at a time, one at least."""
    documents = np.arange(segment.info.documents) if segment.live is None else np.flatnonzero(segment.live)
    sizes = np.diff(segment.passage_ends)[documents] / _PASSAGES + 1 / _DOCUMENTS
    if tokens is not None:
        ends = tokens.ends[segment.passage_ends]
        sizes = sizes + np.diff(ends)[documents] * (tokens.codes[:1].nbytes / _TOKEN_BYTES)
    steps = np.cumsum(sizes).astype(np.int64)
    for part in np.split(documents, np.flatnonzero(np.diff(steps)) + 1):
        if len(part):
            yield part


def _terms(segment: Segment, rows: NDArray[np.int64]) -> list[dict[str, int]]:
    """The term frequencies of passages as they are stored."""
    field = segment.fields["bm25"]
    sizes, numbers, frequencies = field.gather(rows)
    distinct, places = np.unique(numbers, return_inverse=True)
    words = [str(field.term(number)) for number in distinct.tolist()]
    counts = [(words[place], count) for place, count in zip(places.tolist(), frequencies.tolist(), strict=True)]
    stops = np.cumsum(sizes).tolist()
    return [dict(counts[start:stop]) for start, stop in zip([0, *stops], stops, strict=False)]


def passages_of(document: Document, spans: NDArray[np.int64]) -> list[Passage]:
    """A document's passages again, as `analysis/passages.py` cut them, from where they lie in its text.

    Where a long title was cut, too, its pieces are not stored: it is parted evenly among them, at white space.
    """
    places = [(int(start), int(stop)) for start, stop in spans]
    titles = 0
    if len(places) > 1 and document.title.strip():
        while titles < len(places) and places[titles] == (0, 0):
            titles += 1
    if not titles:
        prefix = f"{document.title}\n" if document.title.strip() else ""
        return [
            Passage(span, document.content if span == (0, len(document.text)) else prefix + document.text[slice(*span)])
            for span in places
        ]
    pieces = [Passage((0, 0), piece) for piece in _parted(document.title, titles)]
    return pieces + [Passage(span, document.text[slice(*span)]) for span in places[titles:]]


def _parted(title: str, count: int) -> list[str]:
    words = title.split(" ")
    ends = [round(len(words) * number / count) for number in range(count + 1)]
    return [" ".join(words[start:stop]) for start, stop in pairwise(ends)]
