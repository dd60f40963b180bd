"""DenseRecall: how much of the truth an approximate index finds, measured on vectors that it holds.

Imports the index's reader. Invariant: the sample is the same for the same number of passages, and a vector that asks is no
part of its own answer. A found passage counts if it scores as much as the k-th best, whichever of several equal ones it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from m3search.storage.dense_index import DenseIndex
    from m3search.storage.manifest import SegmentInfo

RECALL_DEPTHS = (10, 100)
_QUERIES = 200
_SEED = 11
_WANTED = 0.95  # of recall at the greater depth, which is what a search first asks the leg for
_HNSW_EFFORTS = (128, 160, 200, 256, 320, 400, 512, 640, 800, 1024)
_IVF_EFFORTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_TIE = 1e-6  # relative: what float32 sums may differ by


def proposed(depth: int) -> int:
    """How many an index is asked for where `depth` are wanted: codes err, and the exact scores put them in order."""
    return depth + max(4, depth // 4)


def measured(index: DenseIndex, vectors: NDArray[np.float32]) -> dict[str, float]:
    """The least effort that finds enough, and the recall with it: "dense_effort", "dense_recall_10", "dense_recall_100".

    Args:
        index: over all the vectors.
        vectors: f32[n, dim].
    """
    depths = [min(depth, len(vectors) - 1) for depth in RECALL_DEPTHS]
    asking = np.sort(np.random.default_rng(_SEED).choice(len(vectors), min(_QUERIES, len(vectors)), replace=False))
    floors = _floors(vectors, asking, depths)
    effort, recalls = 0, np.zeros(len(depths))
    for effort in _efforts(index):
        found = [
            _shares(index, vectors, int(own), floor, depths, effort) for own, floor in zip(asking, floors, strict=True)
        ]
        recalls = np.mean(found, axis=0)
        if recalls[-1] >= _WANTED:
            break
    names = [f"dense_recall_{depth}" for depth in RECALL_DEPTHS]
    return {"dense_effort": effort, **dict(zip(names, recalls.tolist(), strict=True))}


def recall_of(segments: Iterable[SegmentInfo]) -> dict[str, float] | None:
    """Measured recall of an index, "recall@10" and "recall@100": the mean over its passages, of which an exhaustively searched
    segment finds all; None where every segment is searched so.
    """
    infos = [info for info in segments if info.passages]
    if not any("dense_effort" in info.statistics for info in infos):
        return None
    shares = [info.passages / sum(info.passages for info in infos) for info in infos]
    return {
        f"recall@{depth}": round(
            sum(
                share * info.statistics.get(f"dense_recall_{depth}", 1.0)
                for share, info in zip(shares, infos, strict=True)
            ),
            4,
        )
        for depth in RECALL_DEPTHS
    }


def _efforts(index: DenseIndex) -> list[int]:
    if index.kind == "hnsw":
        return list(_HNSW_EFFORTS)
    lists = index.fan_out
    return [*(effort for effort in _IVF_EFFORTS if effort < lists), min(lists, _IVF_EFFORTS[-1])]


def _floors(vectors: NDArray[np.float32], asking: NDArray[np.int64], depths: Sequence[int]) -> NDArray[np.float32]:
    """f32[queries, depths]: the score at each depth, of an exhaustive search that leaves out who asks."""
    import faiss

    queries = np.ascontiguousarray(vectors[asking])
    _, rows = faiss.knn(queries, vectors, depths[-1] + 1, metric=faiss.METRIC_INNER_PRODUCT)
    floors = np.zeros((len(asking), len(depths)), np.float32)
    for place, own in enumerate(asking):
        scores = _scores(vectors, int(own), rows[place])
        floors[place] = [scores[depth - 1] if depth else 0 for depth in depths]
    return floors


def _shares(
    index: DenseIndex,
    vectors: NDArray[np.float32],
    own: int,
    floors: NDArray[np.float32],
    depths: Sequence[int],
    effort: int,
) -> list[float]:
    """What part of the best at each depth one search finds that asks for the greatest."""
    rows = index.nearest(np.ascontiguousarray(vectors[own]), min(proposed(depths[-1]) + 1, len(vectors)), effort)
    scores = _scores(vectors, own, rows)
    shares = []
    for depth, floor in zip(depths, floors, strict=True):
        good = int((scores[:depth] >= floor - _TIE * abs(floor)).sum())
        shares.append(good / depth if depth else 1.0)
    return shares


def _scores(vectors: NDArray[np.float32], own: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scores of some rows without that of who asks, descending."""
    scores: NDArray[np.float32] = np.einsum("ij,j->i", vectors[rows[rows != own]], vectors[own])
    return np.sort(scores)[::-1]
