"""Index: made and opened. The facade over all rooms, and thin: `Reader` has what can be asked, `Editor` what can be changed.

Imports every room but the command line.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Mapping
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from m3search.editor import Editor
from m3search.errors import IndexNotFoundError, InputError, M3SearchWarning
from m3search.reader import logger
from m3search.retrieval import ensure_compiled
from m3search.storage import (
    DenseSettings,
    IndexConfig,
    IndexWriter,
    copy_index,
    holds_index,
    index_folder,
)

if TYPE_CHECKING:
    from m3search.encoder import Encoder
    from m3search.indexing.report import BuildReport
    from m3search.indexing.sources import Source
    from m3search.records import Document, Encodings, Passages, WeightsLike

DEFAULT_SEGMENT_SIZE = 100_000


class Index(Editor):
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
        super().__init__(
            path, encoder=encoder, writer=writer, verify=verify, follow=follow, merging=merging, threads=threads
        )
        self.report: BuildReport | None = None
        self._remove = weakref.finalize(self, _remove, path, os.getpid()) if temporary else None

    def close(self) -> None:
        """Give everything back; hits that are still held can be read on. Closing twice does nothing."""
        super().close()
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
        folder = Path(tempfile.mkdtemp(prefix="m3search-")) if path is None else index_folder(path)
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
            InputError: no folder can have this name, or an argument is wrong.
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
        folder = index_folder(path)
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

        source, target = index_folder(path), index_folder(to)
        report = rebuild_index(source, target, changed, overwrite=overwrite, threads=threads, progress=progress)
        index = cls(target)
        index.report = report
        return index

    def save(self, path: str | Path) -> None:
        """Keep a copy of this index in a new folder; it appears there whole or not at all.

        Raises:
            IndexExistsError: something is at `path`.
            StorageError: the disk refuses it.
        """
        with self._reading() as snapshot:
            copy_index(snapshot, index_folder(path))


def _remove(path: Path, maker: int) -> None:
    """Deletes a temporary index; not in a forked child, whose parent still uses it."""
    if os.getpid() == maker:
        shutil.rmtree(path, ignore_errors=True)
