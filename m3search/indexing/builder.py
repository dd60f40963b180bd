"""Builder: a build from its first document to the commit that publishes it.

Owns the stage as a sink of the pipeline, and what becomes of it when a build ends early; imports the pipeline and storage.
Invariant: whatever fails leaves the index that stood there as it was, and what was committed of the stage stays for a build
that goes on, unless the documents themselves are at fault.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from m3search.errors import InputError, ResumeError, SourceError, StorageError
from m3search.indexing.ingest import Ingest, PassageEncoder
from m3search.indexing.seen_ids import SeenIds
from m3search.storage import Manifest
from m3search.storage.journal import Journal
from m3search.storage.keys import BUILDING_KEY

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
        given: bool = False,
        resumable: bool = False,
    ) -> None:
        """Begins, or goes on where the stage of an interrupted build stands.

        Args:
            writer: of `IndexWriter.for_build`.
            config: of the index.
            encoder: for passages without given encodings.
            colbert: whether given encodings must have token vectors.
            skip: whether bad records are left out and reported.
            progress: called with the number of documents that were just done.
            given: encodings will be given.
            resumable: keep a journal, by which a later build can go on.
        """
        self._writer = writer
        self._seen = SeenIds()
        self._encoder = encoder
        self._skip = skip
        settings = {"encodings": "given" if given else "made", "on_error": "skip" if skip else "raise"}
        stage = writer.manifest(BUILDING_KEY) if resumable else None
        self._journal = Journal.left(writer) if stage is not None else None
        if self._journal is None and resumable:
            self._journal = Journal.new(writer, settings)
        self._resumed = stage if self._journal is not None and self._journal.resumed else None
        self._settings = settings
        self._ingest = Ingest(
            self,
            config,
            colbert=colbert,
            progress=progress,
            journal=self._journal,
            held=0 if self._resumed is None else sum(info.documents for info in self._resumed.segments),
        )

    def run(self, documents: Iterable[object], encodings: Iterable[Encodings] | Encodings | None) -> BuildReport:
        """Build and publish.

        Raises:
            DocumentError, SourceError: a bad record, unless they are skipped.
            EncodingsError: encodings that do not go with the documents.
            ResumeError: the interrupted build had other documents or settings.
            StorageError: the disk is full or failing.
        """
        started = time.perf_counter()
        report = self._ingest.report
        if self._resumed is not None and self._journal is not None:
            report.documents = sum(info.documents for info in self._resumed.segments)
            report.passages = sum(info.passages for info in self._resumed.segments)
            report.resumed = self._journal.record.documents
        try:
            self._ingest.run(documents, encodings, encoder=self._encoder, skip=self._skip)
            self._ingest.seal()
        except BaseException as error:
            self._ingest.discard()
            trail = self._ingest.trail
            if isinstance(error, InputError) and not isinstance(error, ResumeError) and trail and trail.following:
                raise ResumeError(
                    f"the source is not the one that the interrupted build in {self._writer.path} read: {error}"
                ) from error
            raise
        self._writer.publish()
        report.seconds = time.perf_counter() - started
        return report

    def abandon(self, error: BaseException) -> None:
        """End a build that failed: its stage is kept for one that goes on, and the error notes that; or it is discarded.

        It is discarded where the documents are at fault, because these will have to be others, and where nothing was committed.
        """
        kept = 0 if self._journal is None or _is_bad_input(error) else self._journal.record.documents
        if kept:
            with contextlib.suppress(StorageError):
                kept *= self._writer.manifest(BUILDING_KEY) is not None  # it may be published already
        if not kept:
            self._writer.discard_unfinished()
            return
        self._writer.close()
        error.add_note(
            f"{kept:,} documents are encoded and kept in {self._writer.path}: build again with resume=True (--resume) to go on "
            f"after them"
        )

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
        """Begin the stage, or make sure that the one that is there goes with this build."""
        if self._resumed is None or self._journal is None:
            self._writer.stage(config, self._journal)
            return
        before, now = self._resumed.config, Manifest.unpack(Manifest(0, config).pack(b""), b"", "").config
        others = [*_differences(before, now), *_changed(self._journal.record.settings, self._settings)]
        if others:
            raise ResumeError(
                f"the interrupted build in {self._writer.path} had other settings: {'; '.join(others)}: give the same ones to "
                f"go on, or leave resume out to begin anew"
            )

    def new_segment(self) -> SegmentWriter:
        """A segment for the stage."""
        return self._writer.new_segment()

    def placed(self, segment: SegmentWriter, first: int, documents: Sequence[Document]) -> None:
        """Nobody asks a build where a document is."""

    def add_segment(self, sealed: SealedSegment) -> None:
        """Commit a segment to the stage."""
        self._writer.add_segment(sealed, self._journal)


def _is_bad_input(error: BaseException) -> bool:
    """Whether the user's documents are at fault; a file that could not be read on may be there again."""
    unreadable = isinstance(error, SourceError) and not error.kind
    return isinstance(error, InputError) and not isinstance(error, ResumeError) and not unreadable


def _differences(before: IndexConfig, now: IndexConfig) -> list[str]:
    """What an interrupted build had otherwise, by the names of the arguments."""
    mine, others = before.to_dict(), now.to_dict()
    del mine["encoder"]
    found = [*_changed(mine, others)]
    old, new = before.encoder, now.encoder
    if old is None or new is None:
        names = [None if one is None else one.name for one in (old, new)]
        found += [] if old is new else [f"encoder was {names[0]!r} and is {names[1]!r}"]
    elif not old.same_vectors(new):
        fields = old.to_dict()
        fields = {f"encoder's {name}": fields[name] for name in fields if name not in {"name", "revision", "files"}}
        found += _changed(fields, {f"encoder's {name}": value for name, value in new.to_dict().items()})
        found += [] if old.files == new.files else [f"encoder was {old.name!r} and is {new.name!r} of other files"]
    return found


def _changed(before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name, value in before.items():
        if value != now.get(name):
            yield f"{_ARGUMENTS.get(name, name)} was {value!r} and is {now.get(name)!r}"


_ARGUMENTS = {"dense_kind": "dense", "colbert_codec": "colbert"}
