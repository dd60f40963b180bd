"""Ours: m3search through `Index.search`, with vectors and weights that are given; one segment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hybrid.collection import DENSE, LEXICAL, Collection, K, Query
from hybrid.engine import BLEND, Opened, Setting
from hybrid.store import disk_bytes
from m3search import Document, Encodings, Hits, Index, Weights
from m3search import __version__ as version

GRAPH_EFFORTS = (10, 20, 40, 80, 120, 160, 240, 320, 400, 800)
LIST_EFFORTS = (2, 4, 8, 16, 32, 64, 128, 256, 512)

_BATCH = 10_000
_LEGS_AND_COMPLETION = ("dense", "lexical", "legs", "complete", "completion")
"""Names of steps that are no overhead of the planner."""


class Ours:
    """One kind of dense index; documents are as small as they can be."""

    kept = False  # what is measured here changes from commit to commit
    modules = ("faiss", "lmdb", "numba")

    def __init__(self, kind: str, *, kept: bool = False) -> None:
        self._kind = kind
        self.name = f"m3search {kind}"
        self.kept = kept

    def version(self) -> str:
        """Of m3search."""
        return version

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """One segment."""
        started = time.process_time()
        _build(20, None, _batches(collection, 20), "flat")  # compiles the kernels, or loads them
        warm = time.process_time() - started
        _build(len(collection), folder, _batches(collection, len(collection)), self._kind)
        return {"aside_s": warm}

    def open(self, collection: Collection, folder: Path) -> Opened:
        """The index."""
        index = Index.open(folder)
        efforts = {"flat": (), "hnsw": GRAPH_EFFORTS, "ivf": LIST_EFFORTS}[self._kind]
        engine = _Search(self.name, index, collection.vocabulary, efforts)
        return Opened([engine], disk_bytes(folder), {"dense": index.info()["dense"]}, close=index.close)


class _Search:
    kind = BLEND

    def __init__(self, name: str, index: Index, vocabulary: int, efforts: Sequence[int]) -> None:
        self.name = name
        self.settings: Sequence[Setting] = [{}, *({"effort": effort} for effort in efforts)]
        self._index = index
        self._vocabulary = vocabulary
        self._weights = Weights(dense=DENSE, lexical=LEXICAL)

    def prepare(self, query: Query, setting: Setting) -> tuple[Encodings, int | None]:
        row = (query.weights, query.terms.astype(np.int32), np.array([0, len(query.terms)], np.int32))
        lexical = sparse.csr_array(row, shape=(1, self._vocabulary))
        return Encodings(dense=query.dense[None], lexical=lexical), setting.get("effort")

    def search(self, prepared: tuple[Encodings, int | None]) -> Hits:
        hits = self._index.search(prepared[0], K, weights=self._weights, dense_effort=prepared[1])
        list(hits)  # they are made when they are looked at
        return hits

    def answer(self, found: Hits) -> NDArray[np.int64]:
        return np.array([int(hit.id) for hit in found], np.int64)

    def account(self, found: Hits) -> Mapping[str, Any]:
        made: dict[str, Any] = {"guarantee": found.guarantee}
        steps = flat_steps(found.statistics.get("steps", {}))
        if steps:
            others = sum(seconds for name, seconds in steps.items() if name in _LEGS_AND_COMPLETION)
            made["overhead_ms"] = 1000 * (found.statistics["seconds"] - others)
            made["steps_ms"] = {name: 1000 * seconds for name, seconds in steps.items()}
        return made


def flat_steps(steps: object) -> dict[str, float]:
    """Name -> seconds, of steps that may lie in one another; one that has parts is left out for these."""
    made: dict[str, float] = {}
    for name, value in steps.items() if isinstance(steps, Mapping) else ():
        if isinstance(value, Mapping):
            made |= flat_steps(value)
        elif isinstance(value, int | float):
            made[str(name)] = float(value)
    return made


def _batches(collection: Collection, count: int) -> Iterator[Encodings]:
    for start in range(0, count, _BATCH):
        stop = min(start + _BATCH, count)
        yield Encodings(dense=np.array(collection.vectors[start:stop]), lexical=collection.rows(start, stop))


def _build(count: int, folder: Path | None, batches: Iterator[Encodings], kind: str) -> None:
    Index.build(
        (Document(str(number), "") for number in range(count)),
        folder,
        encoder=None,
        bm25=False,
        encodings=batches,
        segment_size=count,
        dense=kind,
        threads=1,
        progress=False,
    ).close()
