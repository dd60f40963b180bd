"""Quality: what ColBERT adds to a first stage, by codec and by depth of the rerank: nDCG@10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m3search import Index
from m3search.storage import CODECS
from rerank.encoded import EncodedCollection
from rerank.measurement import say

FIRST = {"dense": "dense=1", "dense + bm25": "dense=1,bm25=0.5"}
ADDED = ",colbert=1"
DEPTHS = (20, 100, 200)
USUAL = 100
MEASURE = "nDCG@10"


def quality(collection: EncodedCollection, folder: Path) -> dict[str, Any]:
    """First stage -> its own value as "0", and "codec/depth" -> value; the usual depth for all codecs, the others for int8."""
    values: dict[str, dict[str, float]] = {name: {} for name in FIRST}
    for codec in CODECS:
        say(f"{collection.name}: {codec}, {MEASURE}")
        with Index.build(
            collection.documents,
            folder / codec,
            encoder=collection.encoder,
            colbert=codec,
            overwrite=True,
            progress=False,
        ) as index:
            passages = index.info()["passages"]
            for name, weights in FIRST.items():
                if "0" not in values[name]:
                    values[name]["0"] = _value(index, collection, weights, 0)
                for depth in DEPTHS if codec == "int8" else (USUAL,):
                    values[name][f"{codec}/{depth}"] = _value(index, collection, weights + ADDED, depth)
    return {
        "documents": len(collection.documents),
        "passages": passages,
        "queries": len(collection.data.queries),
        "values": values,
    }


def _value(index: Index, collection: EncodedCollection, weights: str, depth: int) -> float:
    return float(index.evaluate(collection.data, measures=[MEASURE], weights=weights, rerank=depth)[MEASURE])
