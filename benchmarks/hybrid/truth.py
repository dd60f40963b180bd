"""Truth: the true blend of every document by brute force in f64, and what each side alone would have found of its best.

The oracle of the benchmark; it shares no code with the engines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hybrid.collection import TOLERANCE, K, Query, blended, load_queries, rows

_BLOCK = 10_000


def write(folder: Path) -> None:
    """Truth of a collection's queries beside them, where it is not there yet; adds to about.json what each side alone finds."""
    if (folder / "truth.npz").is_file():
        return
    about = json.loads((folder / "about.json").read_text())
    found = {
        name: _best(folder, load_queries(folder / f"{name}.npz"), about["vocabulary"]) for name in ("queries", "tuning")
    }
    smallest = {name: scores[:, -1] for name, (scores, _) in found.items()}
    scores, alone = found["queries"]
    about["dense alone"], about["lexical alone"] = (float(np.mean(one >= scores[:, -1:] - TOLERANCE)) for one in alone)
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    with (folder / "truth.part").open("wb") as file:
        np.savez(file, **smallest)
    (folder / "truth.part").rename(folder / "truth.npz")


def _best(
    folder: Path, queries: Sequence[Query], vocabulary: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """The K highest blends f64[queries, K], falling; and the blends of the K best by vectors alone, and by terms alone."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    ends, terms, weights = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ends", "terms", "weights"))
    dense = np.stack([query.dense for query in queries]).astype(np.float64)
    parts = (
        np.concatenate([query.weights for query in queries]).astype(np.float64),
        np.concatenate([query.terms for query in queries]).astype(np.int32),
        np.cumsum([0, *(len(query.terms) for query in queries)]),
    )
    asked = sparse.csr_array(parts, shape=(len(queries), vocabulary))
    # by blend, by vectors, by terms: (what it is ordered by, the blend)
    kept = [(np.empty((len(queries), 0)), np.empty((len(queries), 0))) for _ in range(3)]
    for start in range(0, len(vectors), _BLOCK):
        stop = min(start + _BLOCK, len(vectors))
        by_vector = dense @ vectors[start:stop].astype(np.float64).T
        by_term = (asked @ rows(ends, terms, weights, vocabulary, start, stop).astype(np.float64).T).toarray()
        blend = blended(by_vector, by_term)
        kept = [_merged(before, keys, blend) for before, keys in zip(kept, (blend, by_vector, by_term), strict=True)]
    return kept[0][1], [blends for _, blends in kept[1:]]


def _merged(
    before: tuple[NDArray[np.float64], NDArray[np.float64]], keys: NDArray[np.float64], blend: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = min(K, keys.shape[1])
    best = np.argpartition(-keys, count - 1, axis=1)[:, :count]
    both = [
        np.concatenate([old, np.take_along_axis(new, best, 1)], axis=1)
        for old, new in zip(before, (keys, blend), strict=True)
    ]
    order = np.argsort(-both[0], axis=1, kind="stable")[:, :K]
    return np.take_along_axis(both[0], order, 1), np.take_along_axis(both[1], order, 1)
