"""Exhaustive: every document's blend with numpy and scipy in f32, the straight way of doing it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lexical.engine import installed
from numpy.typing import NDArray

from hybrid.collection import Collection, K, Query, blended
from hybrid.engine import BLEND, Opened, Setting


class Exhaustive:
    """One matrix product, term rows of the inverted matrix, and a partition."""

    name = "exhaustive"
    kept = True
    modules = ()

    def version(self) -> str:
        """Of numpy."""
        return installed("numpy")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Only inverts."""
        by_term = collection.rows(0, len(collection)).tocsc()
        for name in ("indptr", "indices", "data"):
            np.save(folder / f"{name}.npy", getattr(by_term, name))
        return {}

    def open(self, collection: Collection, folder: Path) -> Opened:
        """All in memory."""
        names = ("indptr", "indices", "data")
        arrays = [np.load(folder / f"{name}.npy", allow_pickle=False) for name in names]
        engine = _Search(np.load(collection.folder / "vectors.npy", allow_pickle=False), *arrays)
        return Opened([engine], collection.vectors.nbytes + sum(array.nbytes for array in arrays))


class _Search:
    name = Exhaustive.name
    kind = BLEND
    settings = ({},)

    def __init__(
        self,
        vectors: NDArray[np.float32],
        ends: NDArray[np.int32],
        documents: NDArray[np.int32],
        weights: NDArray[np.float32],
    ) -> None:
        self._vectors = vectors
        self._ends, self._documents, self._weights = ends, documents, weights

    def prepare(self, query: Query, setting: Setting) -> Query:
        del setting
        return query

    def search(self, prepared: Query) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        lexical = np.zeros(len(self._vectors), np.float32)
        for term, weight in zip(prepared.terms, prepared.weights, strict=True):
            postings = slice(self._ends[term], self._ends[term + 1])
            lexical[self._documents[postings]] += weight * self._weights[postings]
        scores = blended(self._vectors @ prepared.dense, lexical)
        best = np.argpartition(-scores, K - 1)[:K]
        best = best[np.argsort(-scores[best])]
        return best, scores[best]

    def answer(self, found: tuple[NDArray[np.intp], NDArray[np.float32]]) -> NDArray[np.int64]:
        return found[0].astype(np.int64)

    def account(self, found: Any) -> Mapping[str, Any]:
        del found
        return {}
