"""QdrantEdge: the PyPI package qdrant-edge-py, HNSW over f32 vectors and an inverted index of sparse vectors in one shard.

Its fusions join ranks (RRF) or normalised scores (DBSF) of two prefetches. A blend of true scores needs nested prefetches: the
candidates of both sides are scored by vectors, and once more by terms, and a formula adds up what both stages say; so every
candidate has both scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from lexical.engine import installed
from numpy.typing import NDArray

from hybrid.collection import DENSE, LEXICAL, Collection, K, Query
from hybrid.engine import BLEND, FUSION, Opened, Setting
from hybrid.store import disk_bytes

LINKS, EF_CONSTRUCTION = 16, 200
DEPTHS = (10, 20, 50, 100, 200, 500)
EFFORTS = (16, 32, 64, 128, 256, 384, 512, 1024)

_BATCH = 1000


class QdrantEdge:
    """One shard, optimized once."""

    name = "qdrant-edge"
    kept = True
    modules = ("qdrant_edge",)

    def version(self) -> str:
        """Of qdrant-edge-py."""
        return installed("qdrant-edge-py")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Points in batches, then its optimizer, which builds the graph; one thread each."""
        from qdrant_edge import EdgeShard, Point, SparseVector, UpdateOperation

        shard = EdgeShard.create(str(folder), _config(collection.dim))
        for start in range(0, len(collection), _BATCH):
            stop = min(start + _BATCH, len(collection))
            vectors, rows = collection.vectors[start:stop].tolist(), collection.rows(start, stop)
            terms, weights = rows.indices.tolist(), rows.data.tolist()
            points = [
                Point(
                    id=start + number,
                    vector={"dense": vector, "lexical": SparseVector(terms[first:last], weights[first:last])},
                )
                for number, (vector, (first, last)) in enumerate(zip(vectors, pairwise(rows.indptr), strict=True))
            ]
            shard.update(UpdateOperation.upsert_points(points))
        shard.flush()
        shard.optimize()
        info = shard.info()
        notes = {
            "segments": info.segments_count,
            "indexed vectors": info.indexed_vectors_count,
            "M": LINKS,
            "efConstruction": EF_CONSTRUCTION,
        }
        shard.close()
        return notes

    def open(self, collection: Collection, folder: Path) -> Opened:
        """With one search thread."""
        from qdrant_edge import EdgeShard, Fusion

        shard = EdgeShard.load(str(folder), _config(collection.dim))
        engines = [
            _Nested(shard),
            _Fused("RRF", shard, Fusion.Rrf(k=60)),
            _Fused("weighted RRF", shard, Fusion.Rrf(k=60, weights=[DENSE, LEXICAL])),
            _Fused("DBSF", shard, Fusion.Dbsf()),
        ]
        return Opened(engines, disk_bytes(folder), close=shard.close)


class _Shard:
    """What both ways have in common."""

    name = ""

    def __init__(self, shard: Any) -> None:
        self._shard = shard
        self.settings: Sequence[Setting] = [
            {"ef": effort, "dense": dense, "lexical": lexical}
            for effort, dense, lexical in product(EFFORTS, DEPTHS, DEPTHS)
            if effort >= dense / 2 and lexical <= 10 * dense
        ]

    def search(self, prepared: Any) -> Any:
        """Points with ids and scores."""
        return self._shard.query(prepared)

    def answer(self, found: Any) -> NDArray[np.int64]:
        """The ids."""
        return np.array([point.id for point in found], np.int64)

    def account(self, found: Any) -> Mapping[str, Any]:
        """Nothing."""
        del found
        return {}


class _Nested(_Shard):
    kind = BLEND

    def __init__(self, shard: Any) -> None:
        super().__init__(shard)
        self.name = f"{QdrantEdge.name}, nested prefetch"

    def prepare(self, query: Query, setting: Setting) -> Any:
        from qdrant_edge import Expression, Formula, Prefetch, QueryRequest

        dense, lexical = _asked(query)
        room = setting["dense"] + setting["lexical"]  # both sides' candidates, none of them lost
        stages = [
            Prefetch(limit=room, query=by, prefetches=_prefetches(dense, lexical, setting)) for by in (dense, lexical)
        ]
        total = DENSE + LEXICAL
        parts = [
            Expression.Mult([Expression.Constant(weight / total), Expression.Variable(f"$score[{side}]")])
            for side, weight in enumerate((DENSE, LEXICAL))
        ]
        formula = Formula(Expression.Sum(parts), {"$score[0]": 0.0, "$score[1]": 0.0})
        return QueryRequest(limit=K, query=formula, prefetches=stages)


class _Fused(_Shard):
    kind = FUSION

    def __init__(self, what: str, shard: Any, fusion: Any) -> None:
        super().__init__(shard)
        self.name = f"{QdrantEdge.name}, {what}"
        self._fusion = fusion

    def prepare(self, query: Query, setting: Setting) -> Any:
        from qdrant_edge import QueryRequest

        return QueryRequest(limit=K, query=self._fusion, prefetches=_prefetches(*_asked(query), setting))


def _asked(query: Query) -> tuple[Any, Any]:
    from qdrant_edge import Query as Asked
    from qdrant_edge import SparseVector

    terms = SparseVector(query.terms.tolist(), query.weights.tolist())
    return Asked.Nearest(query.dense.tolist(), using="dense"), Asked.Nearest(terms, using="lexical")


def _prefetches(dense: Any, lexical: Any, setting: Setting) -> list[Any]:
    from qdrant_edge import Prefetch, SearchParams

    return [
        Prefetch(limit=setting["dense"], query=dense, params=SearchParams(hnsw_ef=setting["ef"])),
        Prefetch(limit=setting["lexical"], query=lexical),
    ]


def _config(dim: int) -> Any:
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeOptimizersConfig,
        EdgeSparseVectorParams,
        EdgeVectorParams,
        HnswIndexConfig,
    )

    # the threshold is qdrant's default, kB: below it candidates are scored one by one, as a second stage needs it
    graph = HnswIndexConfig(LINKS, EF_CONSTRUCTION, full_scan_threshold=10_000, max_indexing_threads=1)
    return EdgeConfig(
        vectors={"dense": EdgeVectorParams(size=dim, distance=Distance.Dot)},
        sparse_vectors={"lexical": EdgeSparseVectorParams()},
        hnsw_config=graph,
        optimizers=EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
        max_search_threads=1,
    )
