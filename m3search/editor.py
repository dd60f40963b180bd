"""Editor: what can be changed in an open index, and how it follows what others change.

Imports the reader, indexing and storage. Invariant: a method that changes something returns only when that is durable; an
answer comes from one generation, which is the same until the index is changed through this object or refreshed.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from m3search.errors import EncoderError, IndexNotFoundError, InputError, M3SearchWarning, StorageError
from m3search.planning import chosen
from m3search.reader import Reader
from m3search.storage import (
    Changes,
    Compacted,
    IndexConfig,
    IndexWriter,
    Merged,
    MergePolicy,
    Snapshot,
    compact,
    is_current,
    keys_of,
    merge_all,
    merge_due,
    open_latest,
)

if TYPE_CHECKING:
    from m3search.encoder import Encoder
    from m3search.filtering import FilterLike
    from m3search.indexing.report import BuildReport
    from m3search.indexing.writer import Documents, Writer
    from m3search.records import Encodings
    from m3search.storage import Environment


class Editor(Reader):
    """An open index that can be changed where it was opened for that; `Index` adds how one is made and opened.

    Args:
        path: the index's folder.
        encoder: of queries and new documents; None: the one of the index, when it is needed.
        writer: holds the index's lock; None: it is open for reading.
        verify: compare all checksums first.
        follow: go over to the newest generation before every search.
        merging: merge segments after changes where it is due.
        threads: CPU threads of the encoder.
    """

    def __init__(
        self,
        path: Path,
        *,
        encoder: Encoder | None = None,
        writer: IndexWriter | None = None,
        verify: bool = False,
        follow: bool = False,
        merging: bool = True,
        threads: int | None = None,
    ) -> None:
        super().__init__(path, encoder=encoder, verify=verify, threads=threads)
        self._writer = writer
        self._follow = follow
        self._merging = merging
        self._refreshing = threading.Lock()
        self._seen: int | None = None  # the last transaction that was found to have changed nothing here
        self._changing = threading.Lock()
        self._changer: int | None = None

    def close(self) -> None:
        """Give everything back; hits that are still held can be read on. Closing twice does nothing."""
        super().close()
        if self._writer is not None:
            self._writer.close()

    # -- following --

    def refresh(self) -> bool:
        """Go over to the newest generation, if there is a newer one: whether there was. What is being read stays readable.

        Raises:
            ClosedError: the index is closed.
            StorageError: the newest generation cannot be opened; this one stays open.
        """
        with self._refreshing:
            with super()._reading() as snapshot:
                old = self._environment
                current, transaction = is_current(old), old.last_transaction
                if current and transaction in {snapshot.transaction, self._seen}:
                    return False
                try:
                    environment, fresh = self._latest(old) if current else open_latest(self.path)
                except IndexNotFoundError:  # somebody has removed the index; what is open here is whole
                    return False
                newer = fresh.manifest.generation != snapshot.manifest.generation
                if environment is old and not newer:
                    # not `transaction`: LMDB shows a commit there before those who begin to read are given it
                    self._seen = fresh.transaction
                    fresh.release()
                    return False
            with self._lock:
                closed = self._snapshot is None  # meanwhile, by another thread
                if not closed:
                    self._snapshot, self._environment, self._seen = fresh, environment, None
            (fresh if closed else snapshot).release()
            if environment is not old:
                (environment if closed else old).close()
        return newer and not closed

    def _latest(self, environment: Environment) -> tuple[Environment, Snapshot]:
        try:
            return environment, Snapshot.latest(environment, self.path)
        except StorageError:
            if is_current(environment):
                raise
            return open_latest(self.path)

    def _reading(self) -> Snapshot:
        if self._follow:
            self.refresh()
        return super()._reading()

    # -- changing --

    @contextlib.contextmanager
    def writer(self, *, progress: Callable[[int], None] = lambda _: None) -> Iterator[Writer]:
        """Many changes in one commit, made at the end of the block; nothing of them is kept if the block raises.

            with index.writer() as writer:
                writer.delete(["old"])
                writer.add([{"id": "new", "text": "..."}])

        Args:
            progress: called with the number of documents that were just added.

        Raises:
            InputError: the index is open for reading only, or this thread is within such a block already.
            StorageError: the commit failed; the old generation is served on.
        """
        from m3search.indexing.writer import Writer

        with self._change() as storage:
            writer = Writer(Changes(storage), self._passage_encoder, progress=progress)
            try:
                yield writer
                writer.commit()
            finally:
                writer.close()
            try:
                if self._merging:
                    merge_due(storage, MergePolicy.of(self._config))
            except StorageError as error:
                warnings.warn(
                    f"the changes are stored, but merging failed: {error}", M3SearchWarning, stacklevel=4
                )  # of `add`'s or the block's caller
            finally:
                self._go_over(storage)

    def _go_over(self, storage: IndexWriter) -> None:
        """Answer from what was committed; where the store has failed, from what is open."""
        with contextlib.suppress(*((StorageError,) if storage.failed else ())):  # it would hide what has failed
            self.refresh()

    @contextlib.contextmanager
    def _change(self) -> Iterator[IndexWriter]:
        """What changes the index, for one thread at a time."""
        if self._writer is None:
            raise InputError(f"{self.path} is open for reading: open it with mode='w' to change it")
        if self._changer == threading.get_ident():
            raise InputError("changes are being made in this thread already: end that block first")
        with self._changing:
            self._changer = threading.get_ident()
            try:
                self._writer.check()
                yield self._writer
            finally:
                self._changer = None

    def merge(self, segment_size: int | None = None) -> Merged:
        """Make segments as few as their largest size allows and purge what is deleted: what was done. It takes mode "w".

        It copies stored values and encodes nothing; readers are not kept waiting, and answer from what was there before until
        they are refreshed. What the old segments took in the store is used again by later commits.

        Args:
            segment_size: living passages of a segment at most; None: that of the build.

        Raises:
            CorruptionError: what is to be merged is damaged.
            InputError: a size below 1; or the index is open for reading only.
            StorageError: the disk is full or failing; what is served stays whole.
        """
        policy = MergePolicy.of(self._config, segment_size)
        with self._change() as storage:
            try:
                return merge_all(storage, policy)
            finally:
                self._go_over(storage)

    def compact(self, *, progress: bool = False) -> Compacted:
        """Give back the disk that the store no longer uses: bytes before and after. It takes mode "w".

        The store is written anew beside the old one, which takes room for both, and then takes its place; a crash leaves one of
        them. Readers are not kept waiting; the disk is free when the last of them is refreshed. `merge` before it also removes
        what is deleted.

        Args:
            progress: draw a bar when standard error is a terminal.

        Raises:
            CorruptionError: the store is damaged; it stays as it is.
            InputError: the index is open for reading only.
            StorageError: there is no room for the new store, or the disk is failing; the old one stays.
        """
        from m3search.indexing.progress import progress_bar

        with self._change() as storage:
            try:
                with progress_bar(keys_of(storage), enabled=progress, what="compacting") as advance:
                    return compact(storage, advance)
            finally:
                self._go_over(storage)

    def add(
        self, docs: Documents, encodings: Iterable[Encodings] | Encodings | None = None, *, on_error: str = "raise"
    ) -> BuildReport:
        """Add documents in one commit, durable when it returns: what was added. The index is to be open with mode "w".

        Args:
            docs: as for `build`; their ids must be new.
            encodings: vectors to take instead of encoding: batches that go with the documents.
            on_error: "raise" at the first bad record, and add nothing; or "skip" it and note it in the report.

        Raises:
            DocumentError: a bad document, or one whose id is there already.
            EncodingsError: encodings that do not go with the documents or with the index.
            EncoderError: the index's encoder cannot be loaded, or there is none.
            InputError: the index is open for reading only.
            StorageError: the disk is full or failing; the old generation is served on.
        """
        with self.writer() as writer:
            writer.add(docs, encodings, on_error=on_error)
        return writer.report

    def upsert(
        self, docs: Documents, encodings: Iterable[Encodings] | Encodings | None = None, *, on_error: str = "raise"
    ) -> BuildReport:
        """Add documents, each in the place of the one with its id if there is one, in one commit; else as `add`."""
        with self.writer() as writer:
            writer.upsert(docs, encodings, on_error=on_error)
        return writer.report

    def delete(
        self,
        ids: Iterable[str | int] | str | None = None,
        *,
        filter: FilterLike = None,  # noqa: A002 - the user's word
    ) -> int:
        """Delete documents in one commit, durable when it returns: how many there were. It takes mode "w".

        Args:
            ids: of the documents; or
            filter: that is true of them, as for `search`.

        Raises:
            InputError: an id is not there, and nothing is deleted; or the index is open for reading only.
            FilterError: as for `search`; or an empty filter, which would delete everything.
            StorageError: the disk is full or failing; the old generation is served on.
        """
        with self.writer() as writer:
            return writer.delete([ids] if isinstance(ids, str) else chosen(ids), filter=filter)

    @property
    def _config(self) -> IndexConfig:
        with super()._reading() as snapshot:
            return snapshot.manifest.config

    def _passage_encoder(self) -> Encoder:
        """The encoder for new documents."""
        config = self._config
        if config.encoder is None and self._encoder is None:
            raise EncoderError(
                f"{self.path} was built from given encodings, without an encoder: give the encodings of new documents, too, "
                f"or open it with encoder=..."
            )
        encoder = self.encoder
        if config.colbert_dim not in {None, encoder.identity.colbert_dim}:
            raise EncoderError(
                f"this index has token vectors of width {config.colbert_dim}, the encoder {encoder.identity.name!r} makes "
                f"{encoder.identity.colbert_dim}: give the encodings of new documents, too"
            )
        return encoder
