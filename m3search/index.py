"""Index: made, opened, changed. The facade over all rooms, and thin; what can be asked of it stands in `Reader`.

Imports every room but the command line. Invariant: an answer comes from one generation, which is the same until the index is
changed through this object or refreshed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from m3search.errors import EncoderError, IndexNotFoundError, InputError, M3SearchWarning, StorageError
from m3search.planning import chosen
from m3search.reader import Reader, logger
from m3search.retrieval import ensure_compiled
from m3search.storage import (
    Changes,
    Compacted,
    DenseSettings,
    Environment,
    IndexConfig,
    IndexWriter,
    Merged,
    MergePolicy,
    Snapshot,
    compact,
    copy_index,
    holds_index,
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
    from m3search.indexing.sources import Source
    from m3search.indexing.writer import Documents, Writer
    from m3search.records import Document, Encodings, Passages, WeightsLike

DEFAULT_SEGMENT_SIZE = 100_000


class Index(Reader):
    """An index on disk, open for searching; make one with `Index.build` or `Index.open`.

    Searching from several threads is safe. Use it as a context manager, or call `close`.

    Attributes:
        path: its folder.
        report: what the build did, on the object that `build` returns; else None.
    """

    def __init__(
        self,
        path: Path,
        *,
        encoder: Encoder | None = None,
        writer: IndexWriter | None = None,
        verify: bool = False,
        temporary: bool = False,
        follow: bool = False,
        merging: bool = True,
        threads: int | None = None,
    ) -> None:
        """Opens what is at `path`; use `Index.open`."""
        super().__init__(path, encoder=encoder, verify=verify, threads=threads)
        self.report: BuildReport | None = None
        self._writer = writer
        self._follow = follow
        self._merging = merging
        self._refreshing = threading.Lock()
        self._seen: int | None = None  # the last transaction that was found to have changed nothing here
        self._changing = threading.Lock()
        self._changer: int | None = None
        self._remove = weakref.finalize(self, _remove, path, os.getpid()) if temporary else None

    def close(self) -> None:
        """Give everything back; hits that are still held can be read on. Closing twice does nothing."""
        super().close()
        if self._writer is not None:
            self._writer.close()
        if self._remove is not None:
            self._remove()

    # -- making and opening --

    @classmethod
    def build(
        cls,
        docs: Iterable[str | Mapping[str, Any] | Document] | Source,
        path: str | Path | None = None,
        *,
        encoder: Encoder | str | Path | None = "mini",
        bm25: bool | Mapping[str, Any] = True,
        colbert: str | None = None,
        dense: str = "auto",
        dense_options: Mapping[str, int] | None = None,
        encodings: Iterable[Encodings] | Encodings | None = None,
        overwrite: bool = False,
        resume: bool = False,
        on_error: str = "raise",
        segment_size: int = DEFAULT_SEGMENT_SIZE,
        weights: WeightsLike = None,
        passages: Passages | None = None,
        threads: int | None = None,
        progress: bool = True,
    ) -> Self:
        """Encode documents once, store them, and open the index.

        Args:
            docs: any iterable, consumed as it comes: texts, Documents, mappings of id (or _id, doc_id), text, title, metadata.
            path: folder of the new index; None: a temporary one, which `save` keeps.
            encoder: "mini", a hub name such as "BAAI/bge-m3", a folder, or a loaded Encoder; None: no encoder, for BM25
                alone or with `encodings`.
            bm25: whether to index terms too; a mapping may set "language", "k1" and "b".
            colbert: codec of token vectors, "int8", "bf16" or "int8+bits"; None makes none, and stores given ones as int8.
            dense: how the dense vectors are searched: "flat" is exhaustive and exact; "hnsw" and "ivf" propose from codes of
                8 bits, approximately, and the stored vectors score what they propose; "auto" is flat for segments of up to
                200,000 passages, hnsw above.
            dense_options: "M" (links of a passage) and "efConstruction" of hnsw, "nlist" (lists) of ivf.
            encodings: vectors to take instead of encoding: batches that go with the documents.
            overwrite: replace an index that is there; it is served until the new one is whole.
            resume: go on where a build at `path` was interrupted: what it committed is not encoded again. The documents are
                read from the beginning and compared. Where there is nothing to go on with, begin.
            on_error: "raise" at the first bad record, or "skip" it and warn at the end.
            segment_size: passages of a segment.
            weights: that a search takes when it names none; None: those that the encoder recommends.
            passages: how long documents are cut; None: only what is longer than the encoder takes, where sentences end.
            threads: CPU threads of the encoder, and of making a dense index; None leaves torch's and OpenMP's settings.
                With 1, the same vectors make the same index.
            progress: draw a bar when standard error is a terminal.

        Raises:
            InputError: a bad document, bad encodings or a bad argument.
            ResumeError: the interrupted build read other documents, or had other settings; it is kept.
            IndexExistsError: something is at `path`.
            EncoderError: the encoder cannot be loaded.
            StorageError: the disk is full, failing or read-only.
        """
        from m3search.encoder import Encoder
        from m3search.indexing.build_config import build_config
        from m3search.indexing.builder import Builder
        from m3search.indexing.progress import progress_bar
        from m3search.indexing.report import check_on_error

        skip = check_on_error(on_error) == "skip"
        ensure_compiled(logger.warning)
        loaded = encoder if encoder is None or isinstance(encoder, Encoder) else Encoder.load(encoder, threads=threads)
        config = build_config(
            loaded,
            bm25=bm25,
            colbert=colbert,
            dense=DenseSettings.of(dense, dense_options),
            given=encodings is not None,
            segment_size=segment_size,
            weights=weights,
            passages=passages,
        )
        total = length_hint(docs) or None  # a source that cannot be opened says so before anything is made
        folder = Path(tempfile.mkdtemp(prefix="m3search-")) if path is None else Path(path)
        writer = IndexWriter.for_build(folder, overwrite=overwrite, resume=resume)
        writer.threads = threads
        builder = None
        try:
            if writer.discarded:
                warnings.warn(
                    f"an unfinished build with {writer.discarded:,} documents in {folder} was discarded: "
                    f"resume=True goes on with one",
                    M3SearchWarning,
                    stacklevel=2,
                )
            with progress_bar(total, enabled=progress) as advance:
                builder = Builder(
                    writer,
                    config,
                    encoder=loaded,
                    colbert=colbert is not None,
                    skip=skip,
                    progress=advance,
                    given=encodings is not None,
                    resumable=path is not None,
                )
                report = builder.run(docs, encodings)
        except BaseException as error:
            writer.close() if builder is None else builder.abandon(error)
            if path is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        writer.close()
        for warning in (report.empty, report.skipped):
            if warning:
                warnings.warn(warning.summary(), M3SearchWarning, stacklevel=2)
        index = cls(folder, encoder=loaded, temporary=path is None)
        index.report = report
        return index

    @classmethod
    def open(
        cls,
        path: str | Path,
        mode: str = "r",
        *,
        encoder: Encoder | str | Path | None = None,
        verify: bool = False,
        refresh: str = "manual",
        merging: str = "auto",
        threads: int | None = None,
    ) -> Self:
        """Open an index that was built.

        Args:
            path: its folder.
            mode: "r" to search; "w" to change it too, which one process may at a time.
            encoder: for queries; None: the one it was built with, loaded at the first query that needs it.
            verify: check every byte first.
            refresh: "manual" answers from the generation that is there now until `refresh` is called; "auto" looks before every
                search and every other question whether a writer has committed another, and follows it.
            merging: "auto" merges small segments, and large ones with many deleted documents, after a commit of this object
                and before the change returns; "manual" leaves that to `merge`.
            threads: CPU threads of the encoder, if it is loaded here, and of making dense indexes.

        Raises:
            IndexNotFoundError: there is no index.
            IndexFormatError: a newer version wrote it.
            CorruptionError: it is damaged.
            LockedError: with mode "w", another writer holds it.
            EncoderError: `encoder` is not the one that made its vectors.
        """
        if mode not in {"r", "w"}:
            raise InputError(f"mode is {mode!r}: give 'r' to search or 'w' to change the index")
        if refresh not in {"manual", "auto"}:
            raise InputError(f"refresh is {refresh!r}: give 'manual' or 'auto'")
        if merging not in {"manual", "auto"}:
            raise InputError(f"merging is {merging!r}: give 'manual' or 'auto'")
        folder = Path(path)
        if not holds_index(folder):
            what = "is no index" if folder.exists() else "is not there"
            raise IndexNotFoundError(f"{folder} {what}: build one there, or name another path")
        if encoder is not None:
            from m3search.encoder import Encoder

            encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder, threads=threads)
        writer = IndexWriter.for_changes(folder) if mode == "w" else None
        if writer is not None:
            writer.threads = threads
        try:
            return cls(
                folder,
                encoder=encoder,
                writer=writer,
                verify=verify,
                follow=refresh == "auto",
                merging=merging == "auto",
                threads=threads,
            )
        except BaseException:
            if writer is not None:
                writer.close()
            raise

    @classmethod
    def rebuild(  # noqa: D417 - the others are named
        cls,
        path: str | Path,
        to: str | Path,
        *,
        dense: str | None = None,
        dense_options: Mapping[str, int] | None = None,
        colbert: str | bool | None = None,
        bm25: bool | Mapping[str, Any] | None = None,
        segment_size: int | None = None,
        weights: WeightsLike = None,
        overwrite: bool = False,
        threads: int | None = None,
        progress: bool = True,
    ) -> Self:
        """Make a new index of what one has stored, with other settings, and open it; nothing is encoded, and no model needed.

        What is left None stays as it is, and so do all scores that it does not touch. Deleted documents are left out. Arguments
        that are not named here are those of `build`.

        Args:
            path: folder of the index, which stays as it is.
            to: folder of the new one.
            colbert: another codec: from bf16 to the others, and between "int8" and "int8+bits", whose signs then leave out
                what was rounded to 0; False leaves the token vectors out.
            bm25: True adds it, False leaves it out; a mapping changes the "language", "k1" and "b" that it names.

        Raises:
            InputError: a setting for which too little is stored, such as bf16 where there are bytes.
            IndexNotFoundError: there is no index at `path`.
            IndexExistsError: something is at `to`.
            CorruptionError: the index is damaged.
            StorageError: the disk is full or failing.
        """
        from m3search.indexing.rebuild import rebuild_index, rebuilt_config

        def changed(config: IndexConfig) -> IndexConfig:
            return rebuilt_config(config, dense, dense_options, colbert, bm25, segment_size, weights)

        report = rebuild_index(Path(path), Path(to), changed, overwrite=overwrite, threads=threads, progress=progress)
        index = cls(Path(to))
        index.report = report
        return index

    def save(self, path: str | Path) -> None:
        """Keep a copy of this index in a new folder; it appears there whole or not at all.

        Raises:
            IndexExistsError: something is at `path`.
            StorageError: the disk refuses it.
        """
        with self._reading() as snapshot:
            copy_index(snapshot, Path(path))

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
                    self._seen = transaction
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
                self.refresh()

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
                self.refresh()

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


def _remove(path: Path, maker: int) -> None:
    """Deletes a temporary index; not in a forked child, whose parent still uses it."""
    if os.getpid() == maker:
        shutil.rmtree(path, ignore_errors=True)
