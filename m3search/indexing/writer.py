"""Writer: what a user changes of an index, gathered into one commit.

Owns the order of additions, replacements and deletions; imports the pipeline and storage. Invariant: what it acknowledges with
`commit` is all of it or nothing, and an id is alive once at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from m3search.errors import FilterError, InputError
from m3search.filtering import And, as_filter
from m3search.indexing.ingest import Ingest, PassageEncoder
from m3search.indexing.report import BuildReport, check_on_error
from m3search.indexing.schema import Schema
from m3search.storage import selected_documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from m3search.filtering import FilterLike
    from m3search.indexing.sources import Source
    from m3search.records import Document, Encodings
    from m3search.storage import Changes, SealedSegment, SegmentWriter

    Documents = Iterable[str | Mapping[str, Any] | Document] | Source


class Writer:
    """Many changes in one commit; get one with ``with index.writer() as writer``, which commits at the end of the block.

    Nothing is seen by anybody before that, and nothing is kept if the block ends with an error. What is added is held on the
    disk meanwhile, a segment in memory, and about 150 bytes for each document.

    Attributes:
        report: what has been added so far.
    """

    def __init__(
        self,
        changes: Changes,
        encoder: Callable[[], PassageEncoder],
        *,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Begins; use `Index.writer`.

        Args:
            changes: takes everything.
            encoder: gives the index's encoder, and is called only if documents come without encodings.
            progress: called with the number of documents that were just done.
        """
        self._changes = changes
        self._encoder = encoder
        self.report = BuildReport()
        self._ingest = Ingest(
            self,
            changes.config,
            fixed=True,
            progress=progress,
            report=self.report,
            schema=Schema(changes.snapshot.stored_types),
        )
        self._placed: dict[str, tuple[str, int]] = {}
        self._coming: set[str] = set()
        self._replacing = False
        self._broken = False

    def add(
        self, docs: Documents, encodings: Iterable[Encodings] | Encodings | None = None, *, on_error: str = "raise"
    ) -> None:
        """Add documents whose ids are new.

        Args:
            docs: as for `Index.build`.
            encodings: vectors to take instead of encoding: batches that go with the documents.
            on_error: "raise" at the first bad record, or "skip" it and note it in the report.

        Raises:
            DocumentError: a bad document, or one whose id is there already.
            EncodingsError: encodings that do not go with the documents or with the index.
            EncoderError: the index's encoder cannot be loaded, or there is none.
            StorageError: the disk is full or failing.
        """
        self._take(docs, encodings, on_error, replacing=False)

    def upsert(
        self, docs: Documents, encodings: Iterable[Encodings] | Encodings | None = None, *, on_error: str = "raise"
    ) -> None:
        """Add documents, each in the place of the one with its id, if there is one; of several with one id the last stays.

        Arguments and errors are those of `add`.
        """
        self._take(docs, encodings, on_error, replacing=True)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: FilterLike = None,  # noqa: A002 - the user's word
    ) -> int:
        """Delete documents: how many there were.

        Args:
            ids: of the documents, those added before in this block included; or
            filter: that is true of them; then nothing may have been added before in this block.

        Raises:
            InputError: an id is not there, and nothing is deleted then; or neither ids nor a filter are given, or both.
            FilterError: as for `Index.search`; or an empty filter, which would delete everything.
        """
        self._check()
        if (ids is None) == (filter is None):
            raise InputError("say what to delete: give ids, or a filter")
        if ids is None:
            return self._delete_where(filter)
        wanted = list(dict.fromkeys(ids))
        count = self._changes.delete([name for name in wanted if name not in self._placed])
        for name in wanted:
            if name in self._placed:
                self._changes.kill(*self._placed.pop(name))
                count += 1
        return count

    def _delete_where(self, given: FilterLike) -> int:
        wanted = as_filter(given)
        if wanted is None or wanted == And(()):
            raise FilterError("an empty filter is true of every document: say which are to be deleted")
        if self._placed:
            raise InputError(
                "documents were added in this block, and a filter does not see them: delete first, then add"
            )
        count = 0
        for segment, documents in selected_documents(self._changes.snapshot, wanted):
            for number in documents.tolist():
                if not self._changes.is_dead(segment.info.uuid, number):
                    self._changes.kill(segment.info.uuid, number)
                    count += 1
        return count

    def commit(self) -> None:
        """Make everything durable and seen; `Index.writer` does it at the end of its block.

        Raises:
            InputError: one of the changes has failed.
            StorageError: the disk is full or failing.
        """
        self._check()
        self._ingest.seal()
        self._changes.commit()

    def close(self) -> None:
        """Forget what was not committed."""
        self._ingest.discard()
        self._changes.close()

    def _take(
        self,
        docs: Documents,
        encodings: Iterable[Encodings] | Encodings | None,
        on_error: str,
        *,
        replacing: bool,
    ) -> None:
        self._check()
        skip = check_on_error(on_error) == "skip"
        self._replacing = replacing
        started = time.perf_counter()
        encoder = None
        if encodings is None and self._has_vectors():
            encoder = self._encoder()
        try:
            self._ingest.run(docs, encodings, encoder=encoder, skip=skip)
        except BaseException:
            self._broken = True
            raise
        finally:
            self._coming.clear()
            self.report.seconds += time.perf_counter() - started

    def _has_vectors(self) -> bool:
        config = self._changes.config
        return any(width is not None for width in (config.dense_dim, config.vocab_size, config.colbert_dim))

    def _check(self) -> None:
        if self._broken:
            raise InputError("a change before has failed, so nothing of this block will be kept: begin it again")

    # -- the sink --

    def known(self, document: Document) -> str:
        """Why an id cannot come again in these changes."""
        if self._replacing:
            return ""
        if document.id in self._placed or document.id in self._coming:
            there = "was there before: ids are unique in an index; rename one, or replace it with upsert "
            return there + "(m3search add --replace)"
        self._coming.add(document.id)
        return ""

    def present(self, documents: Sequence[Document]) -> list[str]:
        """Why documents cannot come in beside the generation; where they replace, what they replace dies."""
        found = self._changes.find([document.id for document in documents])
        if not self._replacing:
            there = (
                "is in the index already: ids are unique; rename it, or replace it with upsert (m3search add --replace)"
            )
            return ["" if place is None else there for place in found]
        for place in dict.fromkeys(place for place in found if place is not None):
            self._changes.kill(*place)
            self.report.replaced += 1
        return [""] * len(documents)

    def begin(self, config: object) -> None:
        """The config is that of the index."""

    def new_segment(self) -> SegmentWriter:
        """A segment of the next generation."""
        return self._changes.new_segment()

    def placed(self, segment: SegmentWriter, first: int, documents: Sequence[Document]) -> None:
        """Remember where documents stand; an earlier one of the same id dies."""
        for number, document in enumerate(documents, first):
            before = self._placed.get(document.id)
            if before is not None:
                self._changes.kill(*before)
                self.report.replaced += 1
            self._placed[document.id] = segment.uuid, number

    def add_segment(self, sealed: SealedSegment) -> None:
        """Hand a whole segment over."""
        self._changes.add_segment(sealed)
