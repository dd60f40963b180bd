"""Collection: documents as weighted terms, and the queries that are asked of them.

Invariant: weights are f16 values, so every engine that stores f16, f32 or f64 scores the same numbers, and what differs
in recall is the engine's own doing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

BLOCK = 50_000
"""Documents that are handled at a time."""

_ABOUT = "about.json"


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Terms u32[q], ascending and distinct, and their weights f32[q] > 0."""

    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Rows of weighted terms.

    Attributes:
        name: also its folder's.
        about: what it is, for the report: "kind" is "generated" or "texts".
        vocabulary: terms are below it.
        ends: i64[n + 1].
        terms: u32[postings], ascending within a row.
        weights: f16[postings] > 0.
        queries: to be measured.
        tuning: other queries, for engines whose settings have to be chosen.
    """

    name: str
    about: dict[str, Any]
    vocabulary: int
    ends: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float16]
    queries: Sequence[Query]
    tuning: Sequence[Query]

    def __len__(self) -> int:
        """Documents."""
        return len(self.ends) - 1

    @property
    def postings(self) -> int:
        """Pairs of a document and a term."""
        return int(self.ends[-1])

    @property
    def weighted(self) -> bool:
        """Whether a query's terms weigh differently."""
        return bool(self.about["weighted queries"])

    def rows(self, start: int, stop: int) -> sparse.csr_array:
        """Some rows as CSR f32[stop - start, vocabulary]."""
        first, last = int(self.ends[start]), int(self.ends[stop])
        parts = (
            self.weights[first:last].astype(np.float32),
            self.terms[first:last].astype(np.int32),
            (self.ends[start : stop + 1] - first).astype(np.int32),
        )
        matrix = sparse.csr_array(parts, shape=(stop - start, self.vocabulary))
        matrix.has_canonical_format = True
        return matrix

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, sparse.csr_array]]:
        """All rows, `size` at a time, each with the number of its first."""
        for start in range(0, len(self), size):
            yield start, self.rows(start, min(start + size, len(self)))

    def by_term(self, dtype: Any) -> sparse.csc_array:
        """The inverted matrix CSC[n, vocabulary]."""
        return sparse.csc_array(self.rows(0, len(self)).astype(dtype, copy=False))


def cached(folder: Path, version: int, make: Callable[[Path], dict[str, Any]], *, fresh: bool = False) -> Path:
    """The folder of a collection; `make` fills it where it is not there whole or of another version.

    `make` writes ends.npy, terms.npy and weights.npy and calls `save_queries`; it gives "kind", "title", "documents",
    "vocabulary", "weighted queries" and whatever else is to stand in the results.
    """
    path = folder / _ABOUT
    if path.is_file() and not fresh and json.loads(path.read_text())["version"] == version:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    about = {"version": version, **make(folder)}
    path.write_text(json.dumps(about, indent=1) + "\n")  # last: it says that the rest is there
    return folder


def load(folder: Path, queries: int, tuning: int) -> Collection:
    """A collection that `cached` made, its arrays mapped."""
    about = json.loads((folder / _ABOUT).read_text())
    measured, kept = (_load_queries(folder / f"{name}.npz") for name in ("queries", "tuning"))
    ends, terms, weights = (
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("ends", "terms", "weights")
    )
    return Collection(
        folder.name, about, about["vocabulary"], np.array(ends), terms, weights, measured[:queries], kept[:tuning]
    )


def save_queries(folder: Path, queries: Sequence[Query], tuning: Sequence[Query]) -> None:
    """Writes both sets of queries."""
    for name, chosen in (("queries", queries), ("tuning", tuning)):
        np.savez(
            folder / f"{name}.npz",
            ends=np.cumsum([0, *(len(query.terms) for query in chosen)]),
            terms=np.concatenate([query.terms for query in chosen]),
            weights=np.concatenate([query.weights for query in chosen]),
        )


def _load_queries(path: Path) -> list[Query]:
    with np.load(path, allow_pickle=False) as arrays:
        ends, terms, weights = arrays["ends"], arrays["terms"], arrays["weights"]
    return [Query(terms[start:stop], weights[start:stop]) for start, stop in pairwise(ends)]
