"""Builder: a build from its first document to the commit that publishes it.

Owns the stage as a sink of the pipeline; imports the pipeline and storage. Invariant: whatever fails leaves the index that
stood there as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from m3search.indexing.ingest import Ingest, PassageEncoder
from m3search.indexing.seen_ids import SeenIds

if TYPE_CHECKING:
    from m3search.indexing.report import BuildReport
    from m3search.records import Document, Encodings
    from m3search.storage import IndexConfig, IndexWriter, SealedSegment, SegmentWriter


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
        self._seen = SeenIds()
        self._encoder = encoder
        self._skip = skip
        self._ingest = Ingest(self, config, colbert=colbert, progress=progress)

    def run(self, documents: Iterable[object], encodings: Iterable[Encodings] | Encodings | None) -> BuildReport:
        """Build and publish.

        Raises:
            DocumentError, SourceError: a bad record, unless they are skipped.
            EncodingsError: encodings that do not go with the documents.
            StorageError: the disk is full or failing.
        """
        started = time.perf_counter()
        try:
            self._ingest.run(documents, encodings, encoder=self._encoder, skip=self._skip)
            self._ingest.seal()
        except BaseException:
            self._ingest.discard()
            raise
        self._writer.publish()
        report = self._ingest.report
        report.seconds = time.perf_counter() - started
        return report

    # -- the sink --

    def known(self, document: Document) -> str:
        """Why an id cannot come again."""
        if self._seen.add(document.id):
            return ""
        return "was there before: ids are unique in an index; rename one, or skip it with on_error='skip'"

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
        """Nobody asks a build where a document is."""

    def add_segment(self, sealed: SealedSegment) -> None:
        """Commit a segment to the stage."""
        self._writer.add_segment(sealed)
