"""Contestants: ways of finding the k best of some documents by their token vectors.

A contestant is timed as a whole. Ours go through an index on the disk, as a search does: a leg, a snapshot, mapped files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from m3search import Document, Encodings, Index
from m3search.planning.shortlist import shortlist_size
from m3search.retrieval import ColbertLeg, Query
from m3search.storage import Environment, Snapshot
from rerank.workload import Workload

EINSUM = "fp32, an einsum a pair"
NUMPY = "fp32, a numpy product a pair"
TWO_STAGES = "int8+bits, in two stages"
SIGNS = "int8+bits, by signs alone"
NAMES = (EINSUM, NUMPY, "bf16", "int8", TWO_STAGES, SIGNS)

Contestant = Callable[[NDArray[np.float32], NDArray[np.int64], int], NDArray[np.int64]]
"""(query f32[m, dim], numbers of documents i64[n], k) -> numbers of the k best, best first."""

Scores = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float64]]
"""(query f32[m, dim], numbers of documents i64[n]) -> f64[n]."""


def einsum(documents: Sequence[NDArray[np.float32]]) -> Scores:
    """As FlagEmbedding 1.4.2 scores a pair (`M3Embedder.colbert_score`), one after the other."""

    def score(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
        left, right = torch.from_numpy(query), torch.from_numpy(document)
        products = torch.einsum("in,jn->ij", left, right)
        highest, _ = products.max(-1)
        return (torch.sum(highest) / left.size(0)).item()

    return lambda query, numbers: np.array([score(query, documents[number]) for number in numbers])


def numpy_products(documents: Sequence[NDArray[np.float32]]) -> Scores:
    """The same in numpy."""
    return lambda query, numbers: np.array([(query @ documents[number].T).max(axis=1).mean() for number in numbers])


def by_leg(snapshot: Snapshot) -> Scores:
    """The leg's own scores."""
    leg = ColbertLeg()
    return lambda query, numbers: leg.complete(_query(query), snapshot, numbers)


def by_signs(snapshot: Snapshot) -> Scores:
    """The leg's estimates, which no search shows."""
    leg = ColbertLeg()
    return lambda query, numbers: leg.estimate(_query(query), snapshot, numbers)


def best_by(scores: Scores) -> Contestant:
    """Those with the highest scores."""

    def best(query: NDArray[np.float32], numbers: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        order: NDArray[np.int64] = numbers[np.argsort(-scores(query, numbers), kind="stable")[:k]]
        return order

    return best


def in_two_stages(estimates: Scores, scores: Scores) -> Contestant:
    """The best by scores of the best by estimates, of as many as a search keeps."""

    def best(query: NDArray[np.float32], numbers: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        kept = min(shortlist_size(k, len(numbers)), len(numbers))
        chosen = np.argpartition(-estimates(query, numbers), kept - 1)[:kept]
        return best_by(scores)(query, np.sort(numbers[chosen]), k)

    return best


@contextmanager
def opened(
    workload: Workload, folder: Path, names: Sequence[str]
) -> Iterator[tuple[dict[str, Contestant], dict[str, int]]]:
    """The contestants of these names, and per codec the bytes of the files that hold the token vectors."""
    snapshots: dict[str, Snapshot] = {}
    sizes: dict[str, int] = {}
    with ExitStack() as stack:
        for codec in dict.fromkeys(_codec(name) for name in names if name not in {EINSUM, NUMPY}):
            path = folder / codec
            documents = (Document(str(number), "") for number in range(len(workload.documents)))
            given = Encodings(colbert=workload.documents)
            with Index.build(
                documents,
                path,
                encoder=None,
                encodings=given,
                colbert=codec,
                bm25=False,
                overwrite=True,
                segment_size=2**31,
            ) as index:
                sizes[codec] = index.info()["colbert"]["bytes"]
            environment = Environment.open(path / "store")
            stack.callback(environment.close)
            snapshots[codec] = stack.enter_context(Snapshot.latest(environment, path))
        yield {name: _made(name, workload, snapshots) for name in names}, sizes


def _codec(name: str) -> str:
    return name.split(",", maxsplit=1)[0]


def _made(name: str, workload: Workload, snapshots: dict[str, Snapshot]) -> Contestant:
    if name in {EINSUM, NUMPY}:
        return best_by((einsum if name == EINSUM else numpy_products)(workload.documents))
    snapshot = snapshots[_codec(name)]
    if name == TWO_STAGES:
        return in_two_stages(by_signs(snapshot), by_leg(snapshot))
    return best_by((by_signs if name == SIGNS else by_leg)(snapshot))


def _query(vectors: NDArray[np.float32]) -> Query:
    return Query.of(Encodings(colbert=[vectors]), None)
