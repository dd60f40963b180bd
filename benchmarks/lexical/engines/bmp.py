"""BMP: the PyPI package bmp (Rust), block-max pruning without approximation (alpha = beta = 1).

It takes whole numbers: weights are scaled so that the largest is 255. It scales and rounds the query's weights itself, however
large they are given, which is why its recall is below 1 where queries are weighted.
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

_FILE = "index.bmp"
_QUERY_SCALE = 1000


class BMP:
    """Blocks of 32, their maxima compressed.

    Plain, they take a byte for every term and block, 8 GB at a million documents; at 100,000 that was 3% faster. Blocks of 64
    and 128 were slower.
    """

    name = "bmp"
    kept = True

    def version(self) -> str:
        """Of bmp."""
        return installed("bmp")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Document by document."""
        import bmp

        largest = float(np.max(collection.weights))
        indexer = bmp.Indexer(str(folder / _FILE), bsize=BLOCK_SIZE, compress_range=True)
        names = [str(term) for term in range(collection.vocabulary)]
        for start, block in collection.blocks():
            scaled = np.maximum(np.rint(block.data * (LARGEST / largest)), 1).astype(np.int64).tolist()
            terms, ends = block.indices.tolist(), block.indptr.tolist()
            for row, (first, last) in enumerate(pairwise(ends)):
                vector = {
                    names[term]: weight for term, weight in zip(terms[first:last], scaled[first:last], strict=True)
                }
                indexer.add_document(str(start + row), vector)
        indexer.finish()
        return {"block_size": BLOCK_SIZE, "compressed": True, "scale": largest / LARGEST}

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """Into memory."""
        del collection, truth, ks
        import bmp

        return Opened([_Searcher(bmp.Searcher(str(folder / _FILE)))], folder_bytes(folder))


class _Searcher:
    name = "bmp"

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    def prepare(self, query: Query) -> dict[str, float]:
        terms = map(str, query.terms.tolist())
        return dict(zip(terms, (_QUERY_SCALE * query.weights).tolist(), strict=True))

    def search(self, prepared: dict[str, float], k: int) -> tuple[list[str], list[float]]:
        found: tuple[list[str], list[float]] = self._searcher.search(prepared, k, alpha=1.0, beta=1.0)
        return found

    def answer(self, found: tuple[list[str], list[float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.array(found[0], np.int64), np.array(found[1], np.float64)
