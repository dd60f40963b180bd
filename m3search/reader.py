"""Reader: an index that is open for searching: answers, documents and facts from one snapshot.

Imports every room below it. Invariant: it answers from one generation, however often it is asked, and changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from m3search.errors import ClosedError, EncoderError, InputError, QueryError
from m3search.planning import (
    Cursor,
    Limits,
    Plan,
    Prepared,
    Spelling,
    Wanted,
    allowed_by,
    answer,
    as_id,
    check_k,
    facets,
    planned,
    prepare,
)
from m3search.records import Document, Encodings, Hits
from m3search.retrieval import ensure_compiled, load_loops
from m3search.retrieval.stored import as_query, stored_encodings
from m3search.storage import Snapshot, open_latest, summary

if TYPE_CHECKING:
    from m3search.encoder import Encoder
    from m3search.evaluation import Dataset, Evaluation
    from m3search.filtering import FilterLike
    from m3search.records import WeightsLike

DEFAULT_RERANK = 100
_EXPORT_BATCH = 1024
_SEARCH_THREADS = 2
_LIMITS = tuple(field.name for field in dataclasses.fields(Limits))
logger = logging.getLogger("m3search")


class SearchOptions(TypedDict, total=False):
    """The keywords of `Reader.search`, which says what they mean."""

    weights: WeightsLike
    ids: Iterable[str | int] | None
    filter: FilterLike
    encodings: Encodings | None
    offset: int
    rerank: int
    fusion: str
    missing: str
    depth: int | None
    max_ms: float | None
    max_candidates: int | None
    collapse: bool
    dense_effort: int | None
    explain: bool
    plan: Plan | None


class Reader:
    """What can be asked of an open index; `Index` adds how one is made and changed.

    Searching from several threads is safe. Use it as a context manager, or call `close`.

    Attributes:
        path: the index's folder.
    """

    def __init__(
        self, path: Path, *, encoder: Encoder | None = None, verify: bool = False, threads: int | None = None
    ) -> None:
        """Opens what is at `path`; use `Index.open`."""
        self.path = path
        self._threads = threads
        self._encoder = encoder
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None
        self._environment, self._snapshot = open_latest(path, verify=verify)
        try:
            if verify:
                self._snapshot.verify()
            if encoder is not None:
                self._snapshot.manifest.config.check_encoder(encoder.identity)
            if self._snapshot.manifest.config.legs:
                ensure_compiled(logger.warning)
        except BaseException:
            Reader.close(self)
            raise

    def close(self) -> None:
        """Give everything back; hits that are still held can be read on. Closing twice does nothing."""
        with self._lock:
            snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            snapshot.release()
            self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _reading(self) -> Snapshot:
        """The snapshot, held until its ``with`` block ends."""
        with self._lock:
            if self._snapshot is None:
                raise ClosedError(f"the index {self.path} is closed: open it again")
            return self._snapshot.acquire()

    # -- searching --

    def search(
        self,
        query: str | Encodings,
        k: int = 10,
        *,
        weights: WeightsLike = None,
        ids: Iterable[str | int] | None = None,
        filter: FilterLike = None,  # noqa: A002 - the user's word
        encodings: Encodings | None = None,
        offset: int = 0,
        rerank: int = DEFAULT_RERANK,
        fusion: str = "raw",
        missing: str = "complete",
        depth: int | None = None,
        max_ms: float | None = None,
        max_candidates: int | None = None,
        collapse: bool = True,
        dense_effort: int | None = None,
        explain: bool = False,
        plan: Plan | None = None,
    ) -> Hits:
        """The best k documents.

        Args:
            query: a text, or its encodings (one row); "" with `ids` or `filter` lists these by id.
            k: how many; at or above the number of documents a blend with dense returns all.
            weights: of the legs, for example ``{"dense": 1, "lexical": 0.3}``, or a published blend by name: "m3",
                "m3-long", "m3-readme"; None: those stored with the index.
            ids: only these documents; unknown ones are passed over.
            filter: only documents with such metadata, for example ``{"lang": "de", "year": {"gte": 2020}}`` or
                ``"lang=de year>=2020"``; docs/filters.md has all of it.
            encodings: vectors of the text (one row), which are then not made by the encoder.
            offset: how many better documents to pass over. Pages of one k and one generation never repeat or skip a
                document; after a write, only those of a `cursor` go on.
            rerank: how many documents ColBERT scores ("int8+bits": or estimates first), where it weighs; 0: none. Pages
                behind these keep the order without it.
            fusion: "raw" blends scores and is proven; "rrf", "minmax" and "zscore" fuse the legs' lists, for comparison.
            missing: "complete" computes a score that a leg did not return, "zero" takes it as nothing.
            depth: candidates of each leg, at first or, where lists are fused, at all; None: as many as k needs.
            max_ms: milliseconds after which the legs are not asked again; the answer then says "budget reached".
            max_candidates: passages that the legs together may propose, with the same effect.
            collapse: True: a document is one hit, by its best passage; False: every passage is a hit of its own.
            dense_effort: how hard an approximate dense index looks: efSearch of hnsw, nprobe of ivf, for a search of all
                passages (a filter raises it); None: what found 95 of the best 100 at the build.
            explain: keep what ``hits.explain()`` and ``hit.explain()`` tell.
            plan: what `plan` returned, to be followed; it decides about k and all that is above but `ids`, `filter`,
                `encodings`, `dense_effort` and `explain`.

        Raises:
            QueryError: k below 1, or a query that the index cannot score.
            FilterError: a filter that is none, or names a field that no document has, or compares it with another type.
            WeightsError: negative, not finite or all 0, an unknown leg, or one that the index does not have.
            EncoderError: the index's encoder cannot be loaded, or is another than it was built with.
        """
        started = time.perf_counter()
        limits = Limits.of(offset, rerank, fusion, missing, depth, max_ms, max_candidates, collapse)
        with self._reading() as snapshot:
            allowed, count = allowed_by(snapshot, ids, filter)
            wanted = Wanted(k, weights, limits, dense_effort=dense_effort, allowed=count, plan=plan)
            (prepared,) = self._prepare([query], [encodings], snapshot, wanted)
            return answer(prepared, snapshot, allowed, started, explain=explain, spelling=self._spelling())

    async def asearch(self, query: str | Encodings, k: int = 10, **options: Unpack[SearchOptions]) -> Hits:
        """`search`, on a thread of the event loop's executor."""
        return await asyncio.to_thread(self.search, query, k, **options)

    def plan(self, query: str | Encodings, k: int = 10, **options: Unpack[SearchOptions]) -> Plan:
        """How `search` would answer, without doing it: print it, or hand it to `search`.

        Args:
            query: as for `search`.
            k: as for `search`.
            options: as for `search`; `explain` and `dense_effort` have no part in a plan.

        Raises:
            QueryError: as for `search`.
            WeightsError: as for `search`.
        """
        with self._reading() as snapshot:
            _, count = allowed_by(snapshot, options.get("ids"), options.get("filter"))
            wanted = _wanted(k, options, count)
            config = snapshot.manifest.config
            return planned(query, options.get("encodings"), wanted, config, approximate=snapshot.approximate)

    def cursor(self, query: str | Encodings, k: int = 10, **options: Unpack[SearchOptions]) -> Cursor:
        """The answer page by page: an iterator over `Hits` of k documents each.

        All pages come from the generation that the index shows now, and none repeats a document. Close it, or use it as a
        context manager: while it is open, what that generation holds is kept.

        Args:
            query: as for `search`.
            k: documents of a page.
            options: as for `search`; `offset` is where the first page begins.

        Raises:
            QueryError: as for `search`.
            WeightsError: as for `search`.
        """
        explain = options.get("explain", False)
        with self._reading() as snapshot:
            allowed, count = allowed_by(snapshot, options.get("ids"), options.get("filter"))
            wanted = _wanted(k, options, count)
            (prepared,) = self._prepare([query], [options.get("encodings")], snapshot, wanted)
            return Cursor(prepared, snapshot, allowed, explain=explain, spelling=self._spelling())

    def search_batch(
        self,
        queries: Iterable[str | Encodings],
        k: int = 10,
        *,
        threads: int = _SEARCH_THREADS,
        **options: Unpack[SearchOptions],
    ) -> list[Hits]:
        """The answers to many queries, encoded together and searched on `threads`, each on one.

        Args:
            queries: as `search` takes one.
            k: as for `search`.
            threads: that search at the same time; the legs give Python's lock away.
            options: as for `search`, but for `encodings`: queries may be encodings themselves.
        """
        started = time.perf_counter()
        if isinstance(queries, (str, Encodings)):
            raise QueryError(f"the queries are a {type(queries).__name__}: give a list of them, or use search for one")
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise QueryError(f"threads is {threads!r}: give a whole number from 1")
        if options.get("encodings") is not None:
            raise QueryError("search_batch takes no encodings beside its queries: give encodings as queries")
        asked, explain = list(queries), options.get("explain", False)
        with self._reading() as snapshot:
            allowed, count = allowed_by(snapshot, options.get("ids"), options.get("filter"))
            jobs = self._prepare(asked, [None] * len(asked), snapshot, _wanted(k, options, count))
            spelling = self._spelling()

            def run(job: Prepared) -> Hits:
                return answer(job, snapshot, allowed, started, explain=explain, spelling=spelling)

            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(run, jobs))

    def similar(
        self,
        id: str | int,  # noqa: A002 - the user's word
        k: int = 10,
        *,
        weights: WeightsLike = None,
        filter: FilterLike = None,  # noqa: A002 - the user's word
    ) -> Hits:
        """The documents most like one of the index, by its stored vectors and its terms, itself left out.

        A document of several passages asks with the mean of their dense vectors and the maximum of their weights.

        Raises:
            QueryError: there is no such document.
        """
        started = time.perf_counter()
        with self._reading() as snapshot:
            id = as_id(id)  # noqa: A001 - the user's word
            found = snapshot.find(id)
            if found is None:
                raise QueryError(f"there is no document {id!r} in {self.path}")
            check_k(k)
            stored = as_query(stored_encodings(snapshot, *found, colbert=False))
            content = snapshot.document(*found).content
            allowed, count = allowed_by(snapshot, None, filter)
            wanted = Wanted(k + 1, weights, legs=("dense", "lexical", "bm25"), allowed=count)
            (prepared,) = self._prepare([content], [stored], snapshot, wanted)
            hits = answer(prepared, snapshot, allowed, started)
        others = [hit for hit in hits if hit.id != id][:k]
        for rank, hit in enumerate(others, start=1):
            hit.rank = rank
        return Hits(others, hits.guarantee, hits.bound, hits.kth_score, lambda: hits.statistics)

    def facets(
        self,
        field: str,
        *,
        query: str | Encodings | None = None,
        k: int = 1000,
        limit: int | None = 10,
        **options: Unpack[SearchOptions],
    ) -> dict[str, int] | dict[float, int] | dict[bool, int]:
        """Values of a field of the metadata -> how many documents have them: the most frequent first, then by value.

        Args:
            field: its name; within mappings with dots, as "author.name".
            query: counts only among the best `k` documents for it; None: among all that `ids` and `filter` leave.
            k: see `query`; with legs that find matches only (BM25, lexical), a large number counts among all matches.
            limit: how many values; None: all.
            options: as for `search`.

        Raises:
            QueryError: there is no such field, or its values are not indexed; and as for `search`.
        """
        with self._reading() as snapshot:
            if query is None:
                return facets(snapshot, field, limit, options.get("ids"), options.get("filter"))
            allowed, count = allowed_by(snapshot, options.get("ids"), options.get("filter"))
            (prepared,) = self._prepare([query], [options.get("encodings")], snapshot, _wanted(k, options, count))
            if prepared.query is None and count is None:
                return {}
            return facets(snapshot, field, limit, query=(prepared, allowed))

    def _prepare(
        self,
        queries: Sequence[str | Encodings],
        given: Sequence[Encodings | None],
        snapshot: Snapshot,
        wanted: Wanted,
    ) -> list[Prepared]:
        config = snapshot.manifest.config
        prepared = prepare(queries, given, wanted, config, lambda: self.encoder, approximate=snapshot.approximate)
        for one in prepared:
            load_loops((*one.plan.first, *one.plan.weights), logger.warning)
        return prepared

    def _spelling(self) -> Spelling | None:
        """How tokens are written, where the encoder is there to say it."""
        encoder = self._encoder
        return None if encoder is None else Spelling(encoder.token, encoder.token_spans, encoder.tokens)

    @property
    def encoder(self) -> Encoder:
        """The encoder of queries, loaded at first use.

        Raises:
            EncoderError: the index was built without one, or the one of that name makes other vectors now.
        """
        with self._lock:
            if self._encoder is None:
                from m3search.encoder import Encoder

                if self._snapshot is None:
                    raise ClosedError(f"the index {self.path} is closed: open it again")
                config = self._snapshot.manifest.config
                if config.encoder is None:
                    raise EncoderError(
                        f"{self.path} was built from given encodings, without an encoder: search with encodings, "
                        f"or open it with encoder=..."
                    )
                revision = config.encoder.revision or None
                encoder = Encoder.load(config.encoder.name, revision=revision, threads=self._threads)
                config.check_encoder(encoder.identity)
                self._encoder = encoder
            return self._encoder

    # -- documents --

    def __len__(self) -> int:
        """Live documents."""
        with self._reading() as snapshot:
            return snapshot.documents

    def __iter__(self) -> Iterator[Document]:
        """Every live document, in the order of indexing."""
        with self._reading() as snapshot:
            for segment, number in snapshot.live_documents():
                yield snapshot.document(segment, number)

    def get(self, id: str | int) -> Document | None:  # noqa: A002 - the user's word
        """The document with this id, or None."""
        with self._reading() as snapshot:
            found = snapshot.find(as_id(id))
            return None if found is None else snapshot.document(*found)

    def __contains__(self, id: object) -> bool:  # noqa: A002 - the user's word
        with self._reading() as snapshot:
            return isinstance(id, str) and snapshot.find(id) is not None

    def export(self, batch: int = _EXPORT_BATCH) -> Iterator[tuple[list[Document], Encodings]]:
        """Documents with their stored vectors, in batches that `build` takes again.

        Dense vectors and f32 weights come back as they were; weights in f16's range and ColBERT vectors as stored.
        """
        if batch < 1:
            raise InputError(f"batch is {batch}: give a number of documents from 1")
        with self._reading() as snapshot:
            documents: list[Document] = []
            encodings: list[Encodings] = []
            for segment, number in snapshot.live_documents():
                documents.append(snapshot.document(segment, number))
                encodings.append(stored_encodings(snapshot, segment, number))
                if len(documents) == batch:
                    yield documents, Encodings.concatenate(encodings)
                    documents, encodings = [], []
            if documents:
                yield documents, Encodings.concatenate(encodings)

    # -- about --

    def info(self) -> dict[str, Any]:
        """What the index holds: documents, passages, legs, segments, encoder, generation, bytes; ready for JSON."""
        with self._reading() as snapshot:
            return {"path": str(self.path), **summary(snapshot, self._environment)}

    def evaluate(
        self,
        dataset: Dataset | str | Path,
        split: str = "test",
        measures: Sequence[str] = ("nDCG@10", "R@100"),
        *,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[SearchOptions],
    ) -> Evaluation:
        """Measure the index against a BEIR folder's queries and qrels.

        Args:
            dataset: folder with ``queries.jsonl`` and ``qrels/<split>.tsv``, or one that was loaded.
            split: which qrels of the folder.
            measures: names as ir-measures writes them.
            progress: called with the number of queries that were just answered.
            options: as for `search`: weights, rerank, or another fusion to compare with.

        Raises:
            SourceError: a file is missing or has an unreadable line.
            MissingExtraError: ir-measures is not installed.
        """
        from m3search.evaluation import evaluate

        def answers(queries: Sequence[str], depth: int) -> list[list[tuple[str, float]]]:
            found = self.search_batch(queries, depth, **options)
            return [[(hit.id, hit.score) for hit in hits] for hits in found]

        return evaluate(answers, dataset, split=split, measures=measures, progress=progress)

    def __repr__(self) -> str:
        if self._snapshot is None:
            return f"{type(self).__name__}({str(self.path)!r}, closed)"
        legs = list(self._snapshot.manifest.config.legs)
        return f"{type(self).__name__}({str(self.path)!r}, documents={len(self)}, legs={legs})"


def _wanted(k: int, options: SearchOptions, allowed: int | None) -> Wanted:
    given = {name: options[name] for name in _LIMITS if name in options}  # type: ignore[literal-required]
    limits = Limits(**{"rerank": DEFAULT_RERANK, **given})
    return Wanted(
        k,
        options.get("weights"),
        limits,
        dense_effort=options.get("dense_effort"),
        allowed=allowed,
        plan=options.get("plan"),
    )
