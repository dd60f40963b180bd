"""Collection: vectors and term weights of the same documents, queries of both, and how much of the true blend an answer holds.

Invariants: weights are f16 values and vectors f32, so that every engine scores the same numbers; a document's true blend is
computed in f64 from these, whoever found it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

K = 10
BLOCK = 50_000
DENSE, LEXICAL = 1.0, 0.3
"""The weights of the blend, as M3's paper has them."""

TOLERANCE = 1e-6
"""A document counts as one of the top K if its true blend is at most this below the K-th: what f32 sums may differ by."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A vector f32[dim]; terms u32[q], ascending and distinct, and their weights f32[q] > 0."""

    dense: NDArray[np.float32]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """What the engines are asked over.

    Attributes:
        folder: where it lies; its name is the collection's.
        about: what it is, for the report: "kind" is "generated" or "texts".
        vectors: f32[n, dim], mapped.
        ends: i64[n + 1].
        terms: u32[postings], ascending within a row.
        weights: f16[postings] > 0.
        queries: to be measured.
        tuning: other queries, to choose settings by.
        smallest: f64[queries], the true blend at rank K.
        tuning_smallest: f64[tuning], the same.
    """

    folder: Path
    about: dict[str, Any]
    vectors: NDArray[np.float32]
    ends: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float16]
    queries: Sequence[Query]
    tuning: Sequence[Query]
    smallest: NDArray[np.float64]
    tuning_smallest: NDArray[np.float64]

    def __len__(self) -> int:
        """Documents."""
        return len(self.ends) - 1

    @property
    def name(self) -> str:
        """Its folder's."""
        return self.folder.name

    @property
    def vocabulary(self) -> int:
        """Terms are below it."""
        return int(self.about["vocabulary"])

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.vectors.shape[1])

    def in_memory(self) -> tuple[NDArray[np.float32], sparse.csr_array]:
        """Copies of all vectors and all rows; they leave no mapped pages behind, which would count as memory."""
        vectors, terms, weights = (
            np.load(self.folder / f"{name}.npy", allow_pickle=False) for name in ("vectors", "terms", "weights")
        )
        return vectors, rows(self.ends, terms, weights, self.vocabulary, 0, len(self))

    def rows(self, start: int, stop: int) -> sparse.csr_array:
        """Term weights of some documents, CSR f32[stop - start, vocabulary]."""
        return rows(self.ends, self.terms, self.weights, self.vocabulary, start, stop)

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, sparse.csr_array]]:
        """All rows, `size` at a time, each with the number of its first: as the lexical benchmark's engines want them."""
        for start in range(0, len(self), size):
            yield start, self.rows(start, min(start + size, len(self)))

    def blend(self, query: Query, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """True scores f64[n] of these documents."""
        dense = self.vectors[ids].astype(np.float64) @ query.dense.astype(np.float64)
        lexical = np.zeros(len(ids))
        for place, number in enumerate(ids):
            row = slice(self.ends[number], self.ends[number + 1])
            _, own, asked = np.intersect1d(self.terms[row], query.terms, assume_unique=True, return_indices=True)
            lexical[place] = self.weights[row][own].astype(np.float64) @ query.weights[asked].astype(np.float64)
        return blended(dense, lexical)

    def overlap(self, query: Query, smallest: float, ids: NDArray[np.int64]) -> float:
        """The share of the true top K that an answer holds, whichever of those that tie at rank K it has."""
        wanted = min(K, len(self))
        found = self.blend(query, np.unique(ids[:wanted]))
        return float((found >= smallest - TOLERANCE).sum()) / wanted


def blended(dense: Any, lexical: Any) -> Any:
    """The weighted mean of both."""
    return (DENSE * dense + LEXICAL * lexical) / (DENSE + LEXICAL)


def rows(
    ends: NDArray[np.int64],
    terms: NDArray[np.uint32],
    weights: NDArray[np.float16],
    vocabulary: int,
    start: int,
    stop: int,
) -> sparse.csr_array:
    """Rows of a matrix in three arrays, CSR f32[stop - start, vocabulary]."""
    first, last = int(ends[start]), int(ends[stop])
    parts = (
        weights[first:last].astype(np.float32),
        terms[first:last].astype(np.int32),
        (ends[start : stop + 1] - first).astype(np.int32),
    )
    matrix = sparse.csr_array(parts, shape=(stop - start, vocabulary))
    matrix.has_canonical_format = True
    return matrix


def save_queries(folder: Path, queries: Sequence[Query], tuning: Sequence[Query]) -> None:
    """Writes both sets of queries."""
    for name, chosen in (("queries", queries), ("tuning", tuning)):
        np.savez(
            folder / f"{name}.npz",
            dense=np.stack([query.dense for query in chosen]),
            ends=np.cumsum([0, *(len(query.terms) for query in chosen)]),
            terms=np.concatenate([query.terms for query in chosen]),
            weights=np.concatenate([query.weights for query in chosen]),
        )


def load_queries(path: Path) -> list[Query]:
    """What `save_queries` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        dense, ends, terms, weights = (arrays[name] for name in ("dense", "ends", "terms", "weights"))
    return [
        Query(vector, terms[start:stop], weights[start:stop])
        for vector, (start, stop) in zip(dense, pairwise(ends), strict=True)
    ]


def load(folder: Path, queries: int, tuning: int) -> Collection:
    """A collection that was made, with its truth; arrays are mapped."""
    about = json.loads((folder / "about.json").read_text())
    vectors, ends, terms, weights = (
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("vectors", "ends", "terms", "weights")
    )
    with np.load(folder / "truth.npz", allow_pickle=False) as truth:
        smallest, tuning_smallest = truth["queries"], truth["tuning"]
    asked, others = (load_queries(folder / f"{name}.npz") for name in ("queries", "tuning"))
    return Collection(
        folder,
        about,
        vectors,
        np.array(ends),
        terms,
        weights,
        asked[:queries],
        others[:tuning],
        smallest,
        tuning_smallest,
    )
