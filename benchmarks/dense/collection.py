"""Collection: generated vectors on the disk, queries, and what an exhaustive search in float64 finds for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dense.vectors import VERSION, GeneratedVectors, write

K = 10
_BLOCK = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """What the engines are asked over.

    Attributes:
        folder: where it lies, and the engines' indexes beside it.
        vectors: f32[n, dim], mapped.
        queries: f32[queries, dim].
        truth: i64[queries, K], the best passages.
    """

    folder: Path
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    truth: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)

    def recall(self, found: NDArray[np.int64]) -> float:
        """The share of the best that stands in i64[queries, K]; equal scores do not occur among random numbers."""
        return float(np.mean([len(np.intersect1d(one, two)) / K for one, two in zip(found, self.truth, strict=True)]))


def collection(cache: Path, count: int, queries: int, seed: int = 0) -> Collection:
    """The first `count` generated vectors, made where they are not there yet."""
    folder = cache / f"{count}-{seed}-v{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "vectors.npy").exists():
        write(folder / "vectors.part.npy", count, seed)
        (folder / "vectors.part.npy").rename(folder / "vectors.npy")
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    asked = GeneratedVectors(seed).queries()
    if not (folder / "truth.npy").exists():
        np.save(folder / "truth.part.npy", _best(vectors, asked))
        (folder / "truth.part.npy").rename(folder / "truth.npy")
    return Collection(folder, vectors, asked[:queries], np.load(folder / "truth.npy")[:queries])


def _best(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    wide = queries.astype(np.float64)
    scores, ids = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        block = wide @ vectors[start : start + _BLOCK].astype(np.float64).T
        scores = np.concatenate([scores, block], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)], axis=1)
        order = np.argsort(-scores, axis=1)[:, :K]
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return ids
