"""Searches: the same living documents in one segment, in 20, and among deleted ones; all indexes take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from filters.collection import Collection
from hybrid.collection import Query
from scipy import sparse

from live.documents import built
from m3search import Encodings, Index

K = 10
BLENDS: Mapping[str, Mapping[str, float]] = {
    "dense": {"dense": 1.0},
    "lexical": {"lexical": 1.0},
    "BM25": {"bm25": 1.0},
    "dense and lexical": {"dense": 1.0, "lexical": 0.3},
}
ONE = "one segment"


def searches(collection: Collection, documents: int, folder: Path, passes: int) -> dict[str, Any]:
    """Name of an index -> blend -> median CPU milliseconds of a search for the best ten."""
    with ExitStack() as stack:
        indexes = {name: stack.enter_context(index) for name, index in _indexes(collection, documents, folder).items()}
        facts = {name: index.info() for name, index in indexes.items()}
        assert {one["documents"] for one in facts.values()} == {documents}
        spent: dict[tuple[str, str], list[float]] = {}
        rng = np.random.default_rng(1)
        for number in range(passes + 1):  # the first warms caches
            for place in rng.permutation(len(collection.queries)).tolist():
                query = collection.queries[place]
                for blend in BLENDS:
                    _ask_all(indexes, query, collection.weights.shape[1], blend, rng, spent if number else {})
    return {
        name: {
            "segments": one["segments"],
            "deleted": one["deleted"],
            "ms": {blend: statistics.median(spent[name, blend]) for blend in BLENDS},
        }
        for name, one in facts.items()
    }


def _indexes(collection: Collection, documents: int, folder: Path) -> dict[str, Index]:
    made = {ONE: built(collection, documents, folder / "one", segment_size=documents)}
    made["20 segments"] = built(collection, documents, folder / "many", segment_size=documents // 20)
    for percent in (10, 30):
        every = round(documents / (1 - percent / 100))
        path = folder / f"deleted-{percent}"
        built(collection, every, path, segment_size=every).close()
        gone = np.random.default_rng(percent).permutation(every)[: every - documents]
        with Index.open(path, mode="w", merging="manual") as index:  # else it would be merged away
            index.delete([str(one) for one in gone.tolist()])
        made[f"{percent}% deleted"] = Index.open(path)
    return made


def _ask_all(
    indexes: Mapping[str, Index],
    query: Query,
    width: int,
    blend: str,
    rng: np.random.Generator,
    spent: dict[tuple[str, str], list[float]],
) -> None:
    row = (query.weights, query.terms.astype(np.int32), np.array([0, len(query.terms)]))
    encodings = Encodings(query.dense[None], sparse.csr_array(row, shape=(1, width)))
    text = " ".join(f"t{term}" for term in query.terms.tolist())
    names = list(indexes)
    for which in rng.permutation(len(names)).tolist():
        name = names[which]
        started = time.process_time()
        hits = indexes[name].search(text, K, weights=BLENDS[blend], encodings=encodings)
        spent.setdefault((name, blend), []).append(1000 * (time.process_time() - started))
        assert len(hits) <= K
