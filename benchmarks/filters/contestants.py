"""Contestants: an index of ours, and of the peers, asked for the nearest ten of the documents that a filter keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hybrid.collection import Query
from scipy import sparse

from filters.collection import KEPT, Collection
from m3search import Document, Encodings, Index

K = 10
_BATCH = 10_000
_EFFORT = 128
_PROBES = 32


class Contestant(Protocol):
    """One way of answering.

    Attributes:
        name: in tables.
        note: how it is set.
    """

    name: str
    note: str

    def prepare(self, query: Query, kept: str) -> Callable[[], Any]:
        """What is to be timed."""
        ...

    def answer(self, found: Any) -> Sequence[int]:
        """The documents of what it gave, best first."""
        ...


def build_ours(collection: Collection, folder: Path, **options: Any) -> Index:
    """An index with dense vectors, term weights, BM25 and metadata."""

    def documents() -> Iterator[Document]:
        for number, metadata in enumerate(collection.metadata):
            yield Document(str(number), collection.text(number), metadata=metadata)

    def encodings() -> Iterator[Encodings]:
        for start in range(0, len(collection), _BATCH):
            part = slice(start, start + _BATCH)
            yield Encodings(collection.vectors[part], collection.weights[part])

    return Index.build(
        documents(), folder, encoder=None, encodings=encodings(), bm25={"language": None}, overwrite=True,
        progress=False, **options,
    )  # fmt: skip


class Ours:
    """m3search with some weights."""

    def __init__(self, name: str, index: Index, weights: Mapping[str, float], width: int, note: str = "") -> None:
        self.name, self.note = name, note
        self._index, self._weights, self._width = index, weights, width

    def prepare(self, query: Query, kept: str) -> Callable[[], Any]:
        """A search."""
        row = (query.weights, query.terms.astype(np.int32), np.array([0, len(query.terms)]))
        given = Encodings(query.dense[None], sparse.csr_array(row, shape=(1, self._width)))
        text = " ".join(f"t{term}" for term in query.terms.tolist())
        wanted = None if KEPT[kept] is None else {"n": {"lt": KEPT[kept]}}
        with self._index._reading() as snapshot:  # noqa: SLF001 - the peers evaluate a filter in every search, too
            snapshot.selections.clear()
        return lambda: self._index.search(text, K, weights=self._weights, encodings=given, filter=wanted)

    def answer(self, found: Any) -> Sequence[int]:
        """The ids are numbers."""
        return [int(name) for name in found.ids]


class Lance:
    """lancedb: IVF,SQ and a scalar index, filtered before the search."""

    name = "lancedb"
    note = f"IVF_SQ, nprobes {_PROBES}, BTREE on the field, prefilter"

    def __init__(self, collection: Collection, folder: Path) -> None:
        import lancedb
        import pyarrow as pa

        dim = collection.vectors.shape[1]
        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim)), ("n", pa.int64())])

        def batches() -> Iterator[Any]:
            for start in range(0, len(collection), _BATCH):
                part = collection.vectors[start : start + _BATCH]
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), dim)
                columns = [pa.array(np.arange(start, start + len(part))), vectors]
                columns.append(pa.array(collection.numbers[start : start + _BATCH]))
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        self._table = lancedb.connect(str(folder)).create_table("documents", batches(), schema=schema)
        lists = max(1, min(1024, len(collection) // 64))
        self._table.create_index(metric="dot", num_partitions=lists, vector_column_name="vector", index_type="IVF_SQ")
        self._table.create_scalar_index("n")

    def prepare(self, query: Query, kept: str) -> Callable[[], Any]:
        """A vector query."""
        below = KEPT[kept]

        def ask() -> Any:
            asked = self._table.search(query.dense, vector_column_name="vector").distance_type("dot").nprobes(_PROBES)
            if below is not None:
                asked = asked.where(f"n < {below}", prefilter=True)
            return asked.select(["id"]).limit(K).to_arrow()

        return ask

    def answer(self, found: Any) -> Sequence[int]:
        """The column of ids."""
        return list(found["id"].to_pylist())


class Qdrant:
    """qdrant-edge: HNSW with an index of the field, built before the graph, as its documentation asks."""

    name = "qdrant-edge"
    note = f"HNSW M 16, ef {_EFFORT}, integer index on the field"

    def __init__(self, collection: Collection, folder: Path) -> None:
        from qdrant_edge import (
            Distance,
            EdgeConfig,
            EdgeOptimizersConfig,
            EdgeShard,
            EdgeVectorParams,
            HnswIndexConfig,
            PayloadSchemaType,
            Point,
            UpdateOperation,
        )

        folder.mkdir(parents=True)
        config = EdgeConfig(
            vectors={"dense": EdgeVectorParams(size=collection.vectors.shape[1], distance=Distance.Dot)},
            hnsw_config=HnswIndexConfig(16, 200, full_scan_threshold=10_000, max_indexing_threads=1),
            optimizers=EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
            max_search_threads=1,
        )
        self._shard = EdgeShard.create(str(folder), config)
        self._shard.update(UpdateOperation.create_field_index("n", PayloadSchemaType.Integer))
        for start in range(0, len(collection), _BATCH // 10):
            part = collection.vectors[start : start + _BATCH // 10].tolist()
            points = [
                Point(id=start + place, vector={"dense": vector}, payload={"n": int(collection.numbers[start + place])})
                for place, vector in enumerate(part)
            ]
            self._shard.update(UpdateOperation.upsert_points(points))
        self._shard.flush()
        self._shard.optimize()

    def prepare(self, query: Query, kept: str) -> Callable[[], Any]:
        """A nearest query."""
        from qdrant_edge import FieldCondition, Filter, QueryRequest, RangeFloat, SearchParams
        from qdrant_edge import Query as Asked

        below = KEPT[kept]
        wanted = None if below is None else Filter(must=[FieldCondition("n", range=RangeFloat(lt=float(below)))])
        request = QueryRequest(
            limit=K,
            query=Asked.Nearest(query.dense.tolist(), using="dense"),
            filter=wanted,
            params=SearchParams(hnsw_ef=_EFFORT),
        )
        return lambda: self._shard.query(request)

    def answer(self, found: Any) -> Sequence[int]:
        """The points' ids."""
        return [int(point.id) for point in found]


def installed(package: str) -> str | None:
    """Its version; None: it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
