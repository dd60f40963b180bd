"""Quality: what ColBERT adds to a first stage, by codec and by depth of the rerank: nDCG@10 of ten hits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.progress import say

from m3search import Encoder, Index
from m3search.evaluation import Dataset, evaluate
from m3search.records import CODECS
from rerank.encoded import EncodedCollection

FIRST = {"dense": "dense=1", "dense + bm25": "dense=1,bm25=0.5"}
ADDED = ",colbert=1"
DEPTHS = (20, 100, 200)
USUAL = 100
MEASURE, HITS = "nDCG@10", 10


def build(collection: EncodedCollection, folder: Path) -> None:
    """An index of each codec."""
    for codec in CODECS:
        say(f"{collection.name}: building {codec}")
        index = Index.build(
            collection.documents,
            folder / codec,
            encoder=collection.encoder,
            colbert=codec,
            overwrite=True,
            progress=False,
        )
        index.close()


def quality(data: Dataset, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """First stage -> its own value as "0", and "codec/depth" -> value; the usual depth for all codecs, the others for int8."""
    values: dict[str, dict[str, float]] = {name: {} for name in FIRST}
    sizes: dict[str, int] = {}
    for codec in CODECS:
        say(f"{data.name}: {codec}, {MEASURE}")
        with Index.open(folder / codec, encoder=encoder) as index:
            sizes = {"documents": len(index), "passages": index.info()["passages"], "queries": len(data.queries)}
            for name, weights in FIRST.items():
                if "0" not in values[name]:
                    values[name]["0"] = _value(index, data, weights, 0)
                for depth in DEPTHS if codec == "int8" else (USUAL,):
                    values[name][f"{codec}/{depth}"] = _value(index, data, weights + ADDED, depth)
    return {**sizes, "values": values}


def _value(index: Index, data: Dataset, weights: str, depth: int) -> float:
    """Of ten hits: to ask for more would rerank more."""

    def answers(queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        found = index.search_batch(queries, k, weights=weights, rerank=depth)
        return [[(hit.id, hit.score) for hit in hits] for hits in found]

    return float(evaluate(answers, data, [MEASURE], depth=HITS)[MEASURE])
