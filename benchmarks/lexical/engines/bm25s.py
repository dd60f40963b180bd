"""BM25s: the PyPI package bm25s with its numba backend, over the collection's own BM25 weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Collection, Query
from lexical.engine import Opened, UnavailableError, installed
from lexical.truth import Truth


class BM25s:
    """Its index is three arrays of eagerly computed weights by term; it gets ours, so that it scores what the others score."""

    name = "bm25s"
    kept = False

    def __init__(self) -> None:
        self._scores: dict[str, Any] | None = None

    def version(self) -> str:
        """Of bm25s."""
        return installed("bm25s")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Inverts in memory; nothing is written.

        Raises:
            UnavailableError: query terms weigh differently, which it does not know.
        """
        del folder
        if collection.weighted:
            raise UnavailableError("cannot weigh query terms")
        matrix = collection.by_term(np.float32)
        self._scores = {
            "data": matrix.data,
            "indices": matrix.indices.astype(np.int32),
            "indptr": matrix.indptr.astype(np.int64),
            "num_docs": len(collection),
        }
        return {"backend": "numba"}

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """What was built."""
        del folder, truth, ks
        import bm25s

        assert self._scores is not None
        retriever = bm25s.BM25(method="lucene", backend="numba", dtype="float32", int_dtype="int64")
        retriever.scores, self._scores = self._scores, None
        retriever.nonoccurrence_array = None
        retriever.vocab_dict = {str(term): term for term in range(collection.vocabulary)}
        retriever.unique_token_ids_set = set(range(collection.vocabulary))
        size = sum(retriever.scores[name].nbytes for name in ("data", "indices", "indptr"))
        return Opened([_Retriever(retriever)], size)


class _Retriever:
    name = "bm25s"

    def __init__(self, retriever: Any) -> None:
        self._retriever = retriever

    def prepare(self, query: Query) -> list[list[int]]:
        return [query.terms.tolist()]

    def search(self, prepared: list[list[int]], k: int) -> Any:
        return self._retriever.retrieve(prepared, k=k, n_threads=1, show_progress=False)

    def answer(self, found: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return found.documents[0].astype(np.int64), found.scores[0].astype(np.float64)
