"""ImpactIndex: the PyPI package impact-index (Rust), impacts of 8 bits in blocks of 128, MaxScore with block maxima."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Collection, Query
from lexical.engine import Opened, folder_bytes, installed
from lexical.truth import Truth

BITS = 8


class ImpactIndex:
    """As its documentation has it for learned weights: `IndexBuilder`, then `compress(nbits=8)`, loaded into memory.

    Reordered, its documents are renumbered by recursive graph bisection first.
    """

    kept = True

    def __init__(self, *, reordered: bool = False) -> None:
        self._reordered = reordered
        self.name = "impact-index-reordered" if reordered else "impact-index"

    def version(self) -> str:
        """Of impact-index."""
        return installed("impact-index")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Document by document, then compressed; the raw index goes."""
        import impact_index

        raw, made = folder / "raw", folder / "compressed"
        builder = impact_index.IndexBuilder(str(raw))
        for start, block in collection.blocks():
            terms = block.indices.astype(np.uintp)
            for row, (first, last) in enumerate(pairwise(block.indptr)):
                builder.add(start + row, terms[first:last], block.data[first:last])
        index = builder.build(in_memory=True)
        if self._reordered:
            index.reorder(str(made), nbits=BITS, in_memory=False)
        else:
            index.compress(str(made), nbits=BITS, in_memory=False)
        shutil.rmtree(raw)
        return {"bits": BITS}

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """Into memory."""
        del collection, truth, ks
        import impact_index

        index = impact_index.Index.load(str(folder / "compressed"), in_memory=True)
        return Opened([_MaxScore(self.name, index)], folder_bytes(folder))


class _MaxScore:
    def __init__(self, name: str, index: Any) -> None:
        self.name = name
        self._index = index

    def prepare(self, query: Query) -> dict[int, float]:
        return dict(zip(query.terms.tolist(), query.weights.tolist(), strict=True))

    def search(self, prepared: dict[int, float], k: int) -> list[Any]:
        found: list[Any] = self._index.search_maxscore(prepared, k)
        return found

    def answer(self, found: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.array([one.docid for one in found], np.int64), np.array([one.score for one in found], np.float64)
