"""Ours: m3search's lexical leg over one segment, as the planner calls it and through `Index.search`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lexical.collection import Collection, Query
from lexical.engine import Opened
from lexical.truth import Truth
from m3search import Document, Encodings, Hits, Index
from m3search import __version__ as version
from m3search.records import Candidates
from m3search.retrieval import ALL
from m3search.retrieval import Query as LegQuery
from m3search.storage import Environment, Snapshot

LEG, INDEX = "m3search", "m3search, Index.search"
PREFIX = "lexical."
FORWARD = ("row_",)
"""How the names of the arrays begin that hold the documents' own vectors, which exact scores come from."""

_LARGEST_SEGMENT = 4_000_000
_BATCH = 10_000


class Ours:
    """Built from encodings alone; documents are as small as they can be."""

    name = LEG

    def __init__(self, segment_size: int | None = None, *, kept: bool = False) -> None:
        self._segment_size = segment_size
        self.kept = kept  # not by default: what is measured here changes from commit to commit

    def version(self) -> str:
        """Of m3search."""
        return version

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """One segment, if the writer agrees; how long the same documents take without weights is measured too."""
        size = self._segment_size or min(len(collection), _LARGEST_SEGMENT)
        started = time.process_time()
        _build(20, None, iter([Encodings(lexical=collection.rows(0, 20))]), size)  # compiles the kernels, or loads them
        warm = time.process_time()
        _build(len(collection), folder, (Encodings(lexical=block) for _, block in collection.blocks(_BATCH)), size)
        built = time.process_time()
        _build(len(collection), None, _dense(len(collection)), size)
        alone = time.process_time() - built
        return {"documents_alone_s": alone, "aside_s": warm - started + alone}

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """The leg and the index, over one snapshot."""
        del truth, ks
        index = Index.open(folder)
        snapshot = Snapshot.latest(Environment.open(folder / "store"), folder)
        arrays = {
            f"{info.uuid}/{name}": size
            for info in snapshot.manifest.segments
            for name, size in info.blobs.items()
            if name.startswith(PREFIX)
        }
        forward = sum(size for name, size in arrays.items() if name.split(PREFIX, 1)[1].startswith(FORWARD))
        notes = {
            "segments": len(snapshot.segments),
            "arrays": {name.split("/")[1]: size for name, size in arrays.items()},
            "forward_bytes": forward,
            "store_bytes": index.info()["bytes"]["store"],
        }
        engines = (_Leg(snapshot, collection.vocabulary), _Index(index, collection.vocabulary))
        return Opened(engines, sum(arrays.values()), sum(arrays.values()) - forward, notes)


class _Leg:
    """`m3search.retrieval.ALL["lexical"].search` on a prepared query."""

    name = LEG

    def __init__(self, snapshot: Snapshot, vocabulary: int) -> None:
        self._snapshot = snapshot
        self._vocabulary = vocabulary
        self._allowed = snapshot.allowed(None)
        self._leg = ALL["lexical"]

    def prepare(self, query: Query) -> LegQuery:
        return LegQuery.of(encoded(query, self._vocabulary), None)

    def search(self, prepared: LegQuery, k: int) -> Candidates:
        return self._leg.search(prepared, self._snapshot, self._allowed, k)

    def answer(self, found: Candidates) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return found.docids, found.scores


class _Index:
    """`Index.search` with encodings, which gives hits."""

    name = INDEX

    def __init__(self, index: Index, vocabulary: int) -> None:
        self._index = index
        self._vocabulary = vocabulary

    def prepare(self, query: Query) -> Encodings:
        return encoded(query, self._vocabulary)

    def search(self, prepared: Encodings, k: int) -> Hits:
        return self._index.search(prepared, k, weights="lexical=1")

    def answer(self, found: Hits) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.array([int(hit.id) for hit in found], np.int64), np.array([hit.score for hit in found], np.float64)


def encoded(query: Query, vocabulary: int) -> Encodings:
    """A query as the encoder would give it."""
    row = (query.weights, query.terms.astype(np.int32), np.array([0, len(query.terms)], np.int32))
    return Encodings(lexical=sparse.csr_array(row, shape=(1, vocabulary)))


def _build(count: int, folder: Path | None, batches: Iterator[Encodings], size: int) -> None:
    documents = (Document(str(number), str(number)) for number in range(count))
    Index.build(
        documents,
        folder,
        encoder=None,
        bm25=False,
        dense="flat",
        encodings=batches,
        segment_size=size,
        overwrite=True,
        progress=False,
    ).close()


def _dense(documents: int) -> Iterator[Encodings]:
    """The least that documents can have instead of weights."""
    for start in range(0, documents, _BATCH):
        yield Encodings(dense=np.ones((min(_BATCH, documents - start), 1), np.float32))
