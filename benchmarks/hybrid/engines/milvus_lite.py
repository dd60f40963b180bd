"""MilvusLite: the PyPI package milvus-lite, asked through pymilvus as its users ask it; the server is a thread of this process.

Its rankers join ranks (RRF), or scores that are normalised by the least and the largest that each side found (weighted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from lexical.engine import UnavailableError, installed
from numpy.typing import NDArray

from hybrid.collection import DENSE, LEXICAL, Collection, K, Query
from hybrid.engine import FUSION, Opened, Setting
from hybrid.store import disk_bytes

LINKS, EF_CONSTRUCTION = 16, 200
DEPTHS = (10, 100)
EFFORTS = (128, 512)

_BATCH = 1000
_NAME = "documents"
_FILE = "milvus.db"


class MilvusLite:
    """HNSW over the vectors, an inverted index of inner products over the weights."""

    name = "milvus-lite"
    kept = True
    modules = ("pymilvus", "milvus_lite", "grpc")

    def version(self) -> str:
        """Of milvus-lite.

        Raises:
            UnavailableError: it or its client is not installed.
        """
        installed("pymilvus")
        return installed("milvus-lite")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Rows in batches, then both indexes.

        Raises:
            UnavailableError: its server does not start.
        """
        from pymilvus import DataType

        client = _client(folder)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("dense", DataType.FLOAT_VECTOR, dim=collection.dim)
        schema.add_field("lexical", DataType.SPARSE_FLOAT_VECTOR)
        client.create_collection(_NAME, schema=schema)
        for start in range(0, len(collection), _BATCH):
            stop = min(start + _BATCH, len(collection))
            rows = collection.rows(start, stop)
            terms, weights = rows.indices.tolist(), rows.data.tolist()
            client.insert(
                _NAME,
                [
                    {
                        "id": start + number,
                        "dense": vector,
                        "lexical": dict(zip(terms[first:last], weights[first:last], strict=True)),
                    }
                    for number, (vector, (first, last)) in enumerate(
                        zip(np.array(collection.vectors[start:stop]), pairwise(rows.indptr), strict=True)
                    )
                ],
            )
        client.flush(_NAME)
        graph = {"M": LINKS, "efConstruction": EF_CONSTRUCTION}
        _index(client, "dense", index_type="HNSW", params=graph)
        _index(client, "lexical", index_type="SPARSE_INVERTED_INDEX")
        client.load_collection(_NAME)
        client.close()
        _stop(folder)
        return graph

    def open(self, collection: Collection, folder: Path) -> Opened:
        """A client of a server in this process."""
        from pymilvus import RRFRanker, WeightedRanker

        del collection
        client = _client(folder)
        client.load_collection(_NAME)
        total = DENSE + LEXICAL
        engines = [
            _Hybrid("weighted", client, WeightedRanker(DENSE / total, LEXICAL / total)),
            _Hybrid("RRF", client, RRFRanker(60)),
        ]

        def close() -> None:
            client.close()
            _stop(folder)

        return Opened(engines, disk_bytes(folder), close=close)


class _Hybrid:
    kind = FUSION

    def __init__(self, what: str, client: Any, ranker: Any) -> None:
        self.name = f"{MilvusLite.name}, {what}"
        self._client, self._ranker = client, ranker
        self.settings: Sequence[Setting] = [
            {"ef": effort, "depth": depth} for effort, depth in product(EFFORTS, DEPTHS) if effort >= depth
        ]

    def prepare(self, query: Query, setting: Setting) -> list[Any]:
        from pymilvus import AnnSearchRequest

        terms = dict(zip(query.terms.tolist(), query.weights.tolist(), strict=True))
        by_vector = {"metric_type": "IP", "params": {"ef": setting["ef"]}}
        return [
            AnnSearchRequest([query.dense.tolist()], "dense", by_vector, setting["depth"]),
            AnnSearchRequest([terms], "lexical", {"metric_type": "IP"}, setting["depth"]),
        ]

    def search(self, prepared: list[Any]) -> Any:
        return self._client.hybrid_search(_NAME, prepared, self._ranker, limit=K)

    def answer(self, found: Any) -> NDArray[np.int64]:
        return np.array([hit["id"] for hit in found[0]], np.int64)

    def account(self, found: Any) -> Mapping[str, Any]:
        del found
        return {}


def _index(client: Any, field: str, **options: Any) -> None:
    """Makes a field's index: over minutes pymilvus gives the connection up, asks again, and is told that it is there."""
    from pymilvus import MilvusException

    wanted = client.prepare_index_params()
    wanted.add_index(field, metric_type="IP", **options)
    try:
        client.create_index(_NAME, wanted)
    except MilvusException:
        if field not in client.list_indexes(_NAME):
            raise


def _client(folder: Path) -> Any:
    from pymilvus import MilvusClient

    try:
        return MilvusClient(str(folder / _FILE))
    except Exception as error:
        raise UnavailableError(f"its server does not start: {error}") from error


def _stop(folder: Path) -> None:
    """The server of a build goes, and what it holds in memory with it."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(folder / _FILE))
