"""BMP: the PyPI package bmp (Rust), block-max pruning without approximation (alpha = beta = 1).

It takes whole numbers: weights are scaled so that the largest is 255. It scales the query's weights and rounds them to a few
bits itself, which is why its recall is below 1 where queries are weighted. Its forward index numbers terms in 16 bits; where
there are more, they silently fall onto each other. Such a collection is indexed by the queries' terms alone: that leaves the
scores of these queries as they are and spares it work, but its size and the time of its build say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Collection, Query
from lexical.engine import Opened, folder_bytes, installed
from lexical.truth import Truth

BLOCK_SIZE = 32
LARGEST = 255
MOST_TERMS = 2**16

_FILE = "index.bmp"


class BMP:
    """Blocks of 32, their maxima compressed.

    Plain, they take a byte for every term and block, 8 GB at a million documents; at 100,000 that was 3% faster. Blocks of 64
    and 128 were slower.
    """

    name = "bmp"
    kept = False  # which terms it has depends on the queries

    def version(self) -> str:
        """Of bmp."""
        return installed("bmp")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Document by document."""
        import bmp

        taken = _taken(collection)
        largest = float(np.max(collection.weights))
        indexer = bmp.Indexer(str(folder / _FILE), bsize=BLOCK_SIZE, compress_range=True)
        names = [str(term) for term in range(collection.vocabulary)]
        for start, block in collection.blocks():
            kept = taken[block.indices]
            ends = np.concatenate([[0], np.cumsum(kept)])[block.indptr].tolist()
            scaled = np.maximum(np.rint(block.data[kept] * (LARGEST / largest)), 1).astype(np.int64).tolist()
            terms = block.indices[kept].tolist()
            for row, (first, last) in enumerate(pairwise(ends)):
                vector = {
                    names[term]: weight for term, weight in zip(terms[first:last], scaled[first:last], strict=True)
                }
                indexer.add_document(str(start + row), vector)
        indexer.finish()
        return {"block_size": BLOCK_SIZE, "scale": largest / LARGEST, "partial": not taken.all()}

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """Into memory."""
        del truth, ks
        import bmp

        partial = not _taken(collection).all()
        name = "bmp, of the queries' terms" if partial else "bmp"
        engine = _Searcher(name, bmp.Searcher(str(folder / _FILE)))
        return Opened([engine], None if partial else folder_bytes(folder))


class _Searcher:
    def __init__(self, name: str, searcher: Any) -> None:
        self.name = name
        self._searcher = searcher

    def prepare(self, query: Query) -> dict[str, float]:
        return dict(zip(map(str, query.terms.tolist()), query.weights.tolist(), strict=True))

    def search(self, prepared: dict[str, float], k: int) -> tuple[list[str], list[float]]:
        found: tuple[list[str], list[float]] = self._searcher.search(prepared, k, alpha=1.0, beta=1.0)
        return found

    def answer(self, found: tuple[list[str], list[float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.array(found[0], np.int64), np.array(found[1], np.float64)


def _taken(collection: Collection) -> NDArray[np.bool_]:
    """Which terms are indexed, bool[vocabulary]: all, or the queries'."""
    taken = np.ones(collection.vocabulary, bool)
    if collection.vocabulary > MOST_TERMS:
        taken[:] = False
        for query in (*collection.queries, *collection.tuning):
            taken[query.terms] = True
    return taken
