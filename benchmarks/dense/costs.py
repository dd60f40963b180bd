"""Costs: what `m3search/retrieval/proposals.py` weighs exhaustive search and an index by, measured where it is used.

Each figure is a slope: the time of two searches that differ in nothing but how much they look at.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.collection import Collection
from dense.engines import Ours
from m3search.retrieval.dense import exhaustive
from m3search.retrieval.products import walked


def costs(collection: Collection) -> str:
    """Lines of "name nanoseconds"; builds a graph and lists over the collection if they are not there yet."""
    vectors, queries = np.array(collection.vectors), collection.queries[:40]
    count, dim = vectors.shape
    rng = np.random.default_rng(0)

    def scanned(share: float) -> float:
        bitmap = np.packbits(rng.random(count) < share, bitorder="little")
        return _median(lambda query: exhaustive(query, vectors, bitmap, 10), queries)

    bit = scanned(0.0) / count
    found = {
        "a number of every vector": _median(lambda query: exhaustive(query, vectors, None, 10), queries) / count / dim,
        "a number of an allowed vector": (scanned(0.2) - bit * count) / (0.2 * count * dim),
        "a bit": bit,
    }
    found |= _graph(collection, queries, dim) | _lists(collection, queries, count, dim)
    return "\n".join(f"{name:32}{1e9 * seconds:8.2f} ns" for name, seconds in found.items())


def _graph(collection: Collection, queries: NDArray[np.float32], dim: int) -> dict[str, float]:
    segment = _segment(collection, "hnsw")
    vectors, index = segment.vectors, segment.dense_index

    def walk(effort: int) -> float:
        return _median(lambda query: walked(query, query.astype(np.float64), vectors, index, 10, effort), queries)

    return {f"a link of the graph, {dim} numbers": (walk(512) - walk(64)) / (448 * index.fan_out)}


def _lists(collection: Collection, queries: NDArray[np.float32], count: int, dim: int) -> dict[str, float]:
    index = _segment(collection, "ivf").dense_index

    def looked_through(effort: int) -> float:
        return _median(lambda query: index.nearest(query, 10, effort), queries)

    lists = index.fan_out // 2
    return {"a number of a code": (looked_through(lists) - looked_through(1)) / (lists / index.fan_out * count * dim)}


def _segment(collection: Collection, kind: str) -> Any:
    ours, folder = Ours(kind), collection.folder / f"m3search {kind}"
    if not (folder / "store").exists():
        shutil.rmtree(folder, ignore_errors=True)
        ours.build(collection, folder)
    ours.open(collection, folder)
    return ours.snapshot.segments[0]


def _median(search: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]) -> float:
    times = []
    for query in queries:
        started = time.process_time()
        search(query)
        times.append(time.process_time() - started)
    return float(np.median(times))
