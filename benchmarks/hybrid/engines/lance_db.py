"""LanceDB: the PyPI package lancedb, vectors in IVF,SQ and a full-text index beside them.

It has no sparse vectors, so it cannot hold the weights of a learned lexical side: it gets the same terms as words, each once,
and scores them by its own BM25. Its rerankers join ranks (RRF), or scores that are normalised by what one query found (linear
combination).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from lexical.engine import installed
from numpy.typing import NDArray

from hybrid.collection import DENSE, LEXICAL, Collection, K, Query
from hybrid.engine import FUSION, Opened, Setting
from hybrid.store import disk_bytes

DEPTHS = (10, 50, 100, 200)
PROBES = (8, 32, 128)

_BATCH = 10_000
_NAME = "documents"
_LISTS = 1024
_TRAINED_ON = 64  # vectors for each list


class LanceDB:
    """A table with both indexes."""

    name = "lancedb"
    kept = True
    modules = ("lancedb", "pyarrow", "pandas")

    def version(self) -> str:
        """Of lancedb."""
        return installed("lancedb")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Rows in batches, then both indexes."""
        import lancedb
        import pyarrow as pa

        schema = pa.schema(
            [("id", pa.int64()), ("vector", pa.list_(pa.float32(), collection.dim)), ("words", pa.string())]
        )
        table = lancedb.connect(str(folder)).create_table(_NAME, _batches(collection, schema), schema=schema)
        lists = min(_LISTS, max(1, len(collection) // _TRAINED_ON))
        table.create_index(metric="dot", num_partitions=lists, vector_column_name="vector", index_type="IVF_SQ")
        table.create_fts_index(
            "words", with_position=False, base_tokenizer="whitespace", lower_case=False, stem=False,
            remove_stop_words=False, ascii_folding=False,
        )  # fmt: skip
        return {"lists": lists}

    def open(self, collection: Collection, folder: Path) -> Opened:
        """The table."""
        import lancedb
        from lancedb.rerankers import LinearCombinationReranker, RRFReranker

        del collection
        table = lancedb.connect(str(folder)).open_table(_NAME)
        engines = [
            _Hybrid("RRF over its own BM25", table, RRFReranker()),
            _Hybrid("linear over its own BM25", table, LinearCombinationReranker(DENSE / (DENSE + LEXICAL))),
        ]
        return Opened(engines, disk_bytes(folder))


class _Hybrid:
    kind = FUSION

    def __init__(self, what: str, table: Any, reranker: Any) -> None:
        self.name = f"{LanceDB.name}, {what}"
        self._table, self._reranker = table, reranker
        self.settings: Sequence[Setting] = [
            {"lists": probes, "depth": depth} for probes, depth in product(PROBES, DEPTHS)
        ]

    def prepare(self, query: Query, setting: Setting) -> Any:
        words = " ".join(f"t{term}" for term in query.terms.tolist())
        return query.dense, words, setting

    def search(self, prepared: Any) -> Any:
        vector, words, setting = prepared
        asked = self._table.search(query_type="hybrid", vector_column_name="vector", fts_columns="words")
        asked = asked.vector(vector).text(words).distance_type("dot").nprobes(setting["lists"]).select(["id"])
        return asked.rerank(self._reranker).limit(setting["depth"]).to_arrow()

    def answer(self, found: Any) -> NDArray[np.int64]:
        return np.array(found["id"].to_pylist()[:K], np.int64)

    def account(self, found: Any) -> Mapping[str, Any]:
        del found
        return {}


def _batches(collection: Collection, schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for start in range(0, len(collection), _BATCH):
        stop = min(start + _BATCH, len(collection))
        rows = collection.rows(start, stop)
        terms = [f"t{term}" for term in rows.indices.tolist()]
        words = [" ".join(terms[first:last]) for first, last in pairwise(rows.indptr)]
        flat = pa.array(np.array(collection.vectors[start:stop]).ravel())
        vectors = pa.FixedSizeListArray.from_arrays(flat, collection.dim)
        yield pa.RecordBatch.from_arrays([pa.array(np.arange(start, stop)), vectors, pa.array(words)], schema=schema)
