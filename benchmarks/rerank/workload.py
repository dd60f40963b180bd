"""Workload: token vectors of documents and queries, and which documents each query has to order.

Invariant: vectors are float32 as an encoder gives them; what a codec makes of them is the codec's doing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Documents to be ordered.

    Attributes:
        name: in results.
        title: in tables.
        documents: f32[t, dim] each.
        queries: f32[m, dim] each.
        candidates: for every query the numbers i64[c] of documents.
    """

    name: str
    title: str
    documents: Sequence[NDArray[np.float32]]
    queries: Sequence[NDArray[np.float32]]
    candidates: Sequence[NDArray[np.int64]]

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.documents[0].shape[1]

    @property
    def tokens(self) -> int:
        """Of all documents."""
        return sum(map(len, self.documents))


@dataclass(frozen=True, slots=True)
class Shape:
    """What generated vectors are like.

    Attributes:
        documents: that there are; more than are ordered, so that caches hold few of them.
        tokens: of each.
        dim: of each.
        queries: that are asked.
        query_tokens: of each.
        candidates: documents that a query orders.
    """

    documents: int = 1000
    tokens: int = 80
    dim: int = 1024
    queries: int = 30
    query_tokens: int = 32
    candidates: int = 200


def generated(shape: Shape, seed: int = 0) -> Workload:
    """Directions drawn evenly from the sphere: they cost what others cost, and order nothing that means anything."""
    rng = np.random.default_rng(seed)

    def directions(rows: int) -> NDArray[np.float32]:
        vectors = rng.standard_normal((rows, shape.dim), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    title = (
        f"{shape.candidates} generated documents x {shape.tokens} tokens, {shape.query_tokens} query tokens, "
        f"{shape.dim} dimensions"
    )
    return Workload(
        "generated",
        title,
        [directions(shape.tokens) for _ in range(shape.documents)],
        [directions(shape.query_tokens) for _ in range(shape.queries)],
        [rng.permutation(shape.documents)[: shape.candidates] for _ in range(shape.queries)],
    )
