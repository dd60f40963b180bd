"""ByHand: FAISS for the vectors, impact-index (or scipy) for the terms, and a compiled loop that joins them.

The stored vectors and weights that complete a score lie in memory. The index of 8 bits is FAISS's IVF,SQ8 with the number of
lists that its guidelines name, impact-index has impacts of 8 bits too; how many lists are looked through, and how many
candidates each side gives, are the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lexical.engine import Opened as LexicalOpened
from lexical.engine import installed
from lexical.engines.impact_index import ImpactIndex
from numpy.typing import NDArray

from hybrid.collection import DENSE, LEXICAL, Collection, K, Query
from hybrid.engine import BLEND, ZERO_FILL, Opened, Setting
from hybrid.engines.joining import completed, zero_filled
from hybrid.store import disk_bytes

PROBES = (4, 8, 16, 32, 64, 128, 256, 384, 512, 768)
DENSE_DEPTHS = (10, 20, 50, 100, 200, 500)
LEXICAL_DEPTHS = (10, 50, 200, 1000)

_BATCH = 10_000
_TRAINED_ON = 64  # vectors for each list
_FACTOR = 4  # lists, of the square root of the vectors


class _Terms(Protocol):
    """The lexical side: a query is prepared once, outside of the timed part."""

    def prepare(self, query: Query) -> Any: ...

    def best(self, prepared: Any, depth: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...


class ByHand:
    """Both joins over the same two indexes."""

    kept = True

    def __init__(self, lexical: str = "impact-index") -> None:
        self._lexical = lexical
        self.name = f"FAISS + {lexical}"
        self.modules = ("faiss", "numba", "scipy.sparse") + (("impact_index",) if lexical == "impact-index" else ())

    def version(self) -> str:
        """Of FAISS and of the package for the terms."""
        package = "impact-index" if self._lexical == "impact-index" else "scipy"
        return f"{installed('faiss-cpu')} and {installed(package)}"

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """An IVF,SQ8 index of inner products, and the terms' index."""
        import faiss

        lists = _lists(len(collection))
        index = faiss.index_factory(collection.dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(0)
        sample = np.sort(rng.choice(len(collection), min(len(collection), _TRAINED_ON * lists), replace=False))
        index.train(np.ascontiguousarray(collection.vectors[sample]))
        for start in range(0, len(collection), _BATCH):
            index.add(np.ascontiguousarray(collection.vectors[start : start + _BATCH]))
        faiss.write_index(index, str(folder / "vectors.faiss"))
        if self._lexical == "impact-index":
            (folder / "terms").mkdir()
            ImpactIndex().build(collection, folder / "terms")  # type: ignore[arg-type] # has rows in blocks as well
        return {"lists": lists}

    def open(self, collection: Collection, folder: Path) -> Opened:
        """Everything in memory."""
        import faiss

        index = faiss.read_index(str(folder / "vectors.faiss"))
        terms: _Terms
        if self._lexical == "impact-index":
            found = ImpactIndex().open(collection, folder / "terms", None, ())  # type: ignore[arg-type] # takes the folder only
            terms = _Impacts(found)
        else:
            terms = _TermRows(collection)
        store = _Store(collection)
        engines = [_Completed(self.name, index, terms, store), _ZeroFilled(self.name, index, terms, store)]
        return Opened(engines, disk_bytes(folder) + store.bytes)


class _Impacts:
    """impact-index's MaxScore."""

    def __init__(self, opened: LexicalOpened) -> None:
        (self._engine,) = opened.engines

    def prepare(self, query: Query) -> Any:
        return self._engine.prepare(query)  # type: ignore[arg-type] # has terms and weights as well

    def best(self, prepared: Any, depth: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = self._engine.search(prepared, depth)
        return np.array([one.docid for one in found], np.int64), np.array([one.score for one in found], np.float32)


class _TermRows:
    """Rows of the inverted matrix, added up."""

    def __init__(self, collection: Collection) -> None:
        by_term = collection.rows(0, len(collection)).tocsc()
        self._ends, self._documents, self._weights = by_term.indptr, by_term.indices, by_term.data
        self._count = len(collection)

    def prepare(self, query: Query) -> Query:
        return query

    def best(self, prepared: Query, depth: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        scores = np.zeros(self._count, np.float32)
        for term, weight in zip(prepared.terms, prepared.weights, strict=True):
            postings = slice(self._ends[term], self._ends[term + 1])
            scores[self._documents[postings]] += weight * self._weights[postings]
        ids = (
            np.argpartition(-scores, min(depth, self._count) - 1)[:depth]
            if depth < self._count
            else np.arange(self._count)
        )
        ids = ids[scores[ids] > 0]
        return ids, scores[ids]


class _Store:
    """The documents' own vectors and weights, and scratch for one query at a time."""

    def __init__(self, collection: Collection) -> None:
        self.vectors, rows = collection.in_memory()
        self.ends, self.terms, self.weights = rows.indptr.astype(np.int64), rows.indices, rows.data
        self.table = np.zeros(collection.vocabulary, np.float32)
        self.seen = np.zeros(len(collection), np.uint32)
        self.sums = np.zeros(len(collection), np.float32)
        self.stamp = 0
        self.shares = np.array([DENSE, LEXICAL], np.float32) / np.float32(DENSE + LEXICAL)
        self.bytes = sum(array.nbytes for array in (self.vectors, self.ends, self.terms, self.weights))


class _Joined:
    """What both joins have in common."""

    def __init__(self, name: str, index: Any, terms: _Terms, store: _Store) -> None:
        self.name = f"{name}, {self.what}"
        self._index, self._terms, self._store = index, terms, store
        probes = [*(probes for probes in PROBES if probes < index.nlist), index.nlist]
        self.settings: Sequence[Setting] = [
            {"lists": probes, "dense": dense, "lexical": lexical}
            for probes, dense, lexical in product(probes, DENSE_DEPTHS, LEXICAL_DEPTHS)
        ]

    what = ""

    def prepare(self, query: Query, setting: Setting) -> Any:
        """The number of lists belongs to FAISS's index."""
        self._index.nprobe = setting["lists"]
        return query, self._terms.prepare(query), setting["dense"], setting["lexical"]

    def answer(self, found: tuple[NDArray[np.int64], NDArray[np.float32]]) -> NDArray[np.int64]:
        return found[0]

    def account(self, found: Any) -> Mapping[str, Any]:
        del found
        return {}


class _Completed(_Joined):
    kind = BLEND
    what = "completed"

    def search(self, prepared: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        query, terms, dense, lexical = prepared
        store = self._store
        _, ids = self._index.search(query.dense[None], dense)
        found, _ = self._terms.best(terms, lexical)
        best, scores = np.empty(K, np.int64), np.empty(K, np.float32)
        store.stamp += 1
        count = completed(
            ids[0], found, query.dense, query.terms, query.weights, store.vectors, store.ends, store.terms, store.weights,
            store.table, store.seen, store.stamp, store.shares, best, scores,
        )  # fmt: skip
        return best[:count], scores[:count]


class _ZeroFilled(_Joined):
    kind = ZERO_FILL
    what = "zero-filled"

    def search(self, prepared: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        query, terms, dense, lexical = prepared
        found_scores, ids = self._index.search(query.dense[None], dense)
        found, lexical_scores = self._terms.best(terms, lexical)
        best, scores = np.empty(K, np.int64), np.empty(K, np.float32)
        count = zero_filled(
            ids[0], found_scores[0], found, lexical_scores, self._store.sums, self._store.shares, best, scores
        )
        return best[:count], scores[:count]


def _lists(documents: int) -> int:
    """The power of two next to FAISS's guideline, with vectors enough to train each."""
    return max(1, min(2 ** round(np.log2(_FACTOR * documents**0.5)), 2 ** int(np.log2(max(1, documents / 39)))))
