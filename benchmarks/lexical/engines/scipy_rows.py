"""ScipyRows: the exact baseline, every posting of the query's terms added up in an array of all documents.

Twice: as one writes it with scipy and numpy, and tuned as far as it goes without code of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import _sparsetools

from lexical.collection import Collection, Query
from lexical.engine import Opened, installed
from lexical.truth import Truth

_BLOCK = 64


class ScipyRows:
    """The matrix by terms, in memory; f64, because sums in f32 (30% faster) are not exact."""

    name = "scipy term rows"
    kept = False

    def __init__(self) -> None:
        self._matrix: sparse.csc_array | None = None

    def version(self) -> str:
        """Of scipy."""
        return installed("scipy")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Inverts in memory; nothing is written."""
        del folder
        self._matrix = collection.by_term(np.float64)
        return {}

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """What was built."""
        del collection, folder, truth, ks
        assert self._matrix is not None
        matrix, self._matrix = self._matrix, None
        return Opened(
            [_Rows(matrix), _Tuned(matrix)], matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        )


class _Rows:
    name = "scipy term rows"

    def __init__(self, matrix: sparse.csc_array) -> None:
        self._rows = matrix.T  # f64[terms, documents], CSR: the same arrays

    def prepare(self, query: Query) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return query.terms.astype(np.int64), query.weights.astype(np.float64)

    def search(
        self, prepared: tuple[NDArray[np.int64], NDArray[np.float64]], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        terms, weights = prepared
        scores = self._rows[terms].T @ weights
        found = np.flatnonzero(scores)  # numpy's selection takes a second where most scores are equal
        if len(found) > k:
            found = found[np.argpartition(scores[found], -k)[-k:]]
        order = np.lexsort((found, -scores[found]))
        return found[order], scores[found[order]]

    def answer(
        self, found: tuple[NDArray[np.int64], NDArray[np.float64]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return found


class _Tuned:
    name = "scipy term rows, tuned"

    def __init__(self, matrix: sparse.csc_array) -> None:
        self._matrix = matrix
        self._documents = matrix.shape[0]
        # whole blocks, so that their maxima are one reshape away
        self._scores = np.zeros(-(-self._documents // _BLOCK) * _BLOCK)
        self._one_column = np.zeros(2, matrix.indptr.dtype)

    def prepare(self, query: Query) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return query.terms.astype(np.int64), query.weights.astype(np.float64)

    def search(
        self, prepared: tuple[NDArray[np.int64], NDArray[np.float64]], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        terms, weights = prepared
        matrix, scores, ends = self._matrix, self._scores, self._one_column
        scores.fill(0)
        starts, stops = matrix.indptr[terms], matrix.indptr[terms + 1]
        for place in range(len(terms)):
            start, stop = starts[place], stops[place]
            ends[1] = stop - start
            # scores += one column times its weight, in C and without a temporary array
            _sparsetools.csc_matvec(
                self._documents, 1, ends, matrix.indices[start:stop], matrix.data[start:stop],
                weights[place : place + 1], scores[: self._documents],
            )  # fmt: skip
        # the k-th largest block maximum is a bound that k documents reach: what is below it need not be sorted
        maxima = scores.reshape(-1, _BLOCK).max(axis=1)
        bound = np.partition(maxima, -k)[-k] if len(maxima) > k else 0.0
        found = np.flatnonzero(scores >= bound) if bound > 0 else np.flatnonzero(scores)
        values = scores[found]
        if len(found) > k:
            kept = values >= np.partition(values, -k)[-k]
            found, values = found[kept], values[kept]
        order = np.lexsort((found, -values))[:k]
        return found[order], values[order]

    def answer(
        self, found: tuple[NDArray[np.int64], NDArray[np.float64]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return found
