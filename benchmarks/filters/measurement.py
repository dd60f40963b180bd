"""Measurement: times of interleaved contestants, and answers held to brute force in f64."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from hybrid.collection import Query
from numpy.typing import NDArray

from filters.collection import KEPT, Collection
from filters.contestants import Contestant, K
from m3search import Index
from m3search.filtering import as_filter
from m3search.storage import select

_TOLERANCE = 1e-6
THREE = {
    "strings, numbers, lists": {"lang": "de", "year": {"gte": 2010}, "tags": {"any": ["tag2", "tag3"]}},
    "wide ranges, a boolean": {"n": {"lt": 5000}, "day": {"gte": "2005-06-01", "lt": "2020-01-01"}, "draft": False},
    "one of a million keys": {"key": {"any": ["00000007-0000", "000001f4-0001"]}, "lang": {"ne": "de"}, "year": 2020},
    "not, or": {"not": {"draft": True}, "or": [{"lang": ["ja", "zh"]}, {"year": {"lt": 2000}}]},
}
"""Name -> a filter of three clauses."""


def times(contestants: Sequence[Contestant], collection: Collection, passes: int, seed: int) -> dict[str, Any]:
    """Name -> filter -> median CPU milliseconds of all threads, hits, and the share of the true best that was found."""
    rng = np.random.default_rng(seed)
    spent: dict[tuple[str, str], list[float]] = {}
    hits: dict[tuple[str, str], list[int]] = {}
    overlap: dict[tuple[str, str], list[float]] = {}
    for number in range(passes + 1):  # the first warms caches
        for place in rng.permutation(len(collection.queries)).tolist():
            query = collection.queries[place]
            dense = None if number else collection.vectors @ query.dense
            for kept in KEPT:
                allowed = collection.kept(kept)
                best = None if dense is None else _best(dense, allowed)
                for which in rng.permutation(len(contestants)).tolist():
                    contestant = contestants[which]
                    ask = contestant.prepare(query, kept)
                    started = time.process_time()
                    found = ask()
                    seconds = time.process_time() - started
                    key = contestant.name, kept
                    if dense is None or best is None:
                        spent.setdefault(key, []).append(1000 * seconds)
                    else:
                        ids = contestant.answer(found)
                        hits.setdefault(key, []).append(len(ids))
                        wanted = min(K, int(allowed.sum()))
                        right = sum(bool(dense[one] >= best - _TOLERANCE) for one in ids if allowed[one])
                        overlap.setdefault(key, []).append(right / wanted if wanted else 1.0)
    return {
        contestant.name: {
            kept: {
                "ms": statistics.median(spent[contestant.name, kept]),
                "hits": min(hits[contestant.name, kept]),
                "overlap": statistics.mean(overlap[contestant.name, kept]),
            }
            for kept in KEPT
        }
        for contestant in contestants
    }


def _best(scores: NDArray[np.float32], kept: NDArray[np.bool_]) -> float:
    """The K-th best score of what is kept; of fewer, the last."""
    own = scores[kept]
    return float(-np.partition(-own, K - 1)[K - 1]) if len(own) > K else float(own.min(initial=np.inf))


def checked(index: Index, collection: Collection, blends: dict[str, Any], queries: int) -> dict[str, Any]:
    """Blend -> how many answers were held to brute force, and how many were other than that. Answers must be proven."""
    from filters.contestants import Ours

    found: dict[str, Any] = {}
    for name, weights in blends.items():
        wrong = short = answers = 0
        for query in collection.queries[:queries]:
            scores = _scores(collection, query, weights)
            for kept in KEPT:
                own = scores[collection.kept(kept)]
                own = own[own > 0] if "dense" not in weights else own
                expected = -np.sort(-own)[:K] if len(own) <= K else -np.sort(np.partition(-own, K - 1)[:K])
                hits = Ours(name, index, weights, collection.weights.shape[1]).prepare(query, kept)()
                answers += 1
                short += len(hits) != len(expected)
                got = np.array([hit.score for hit in hits])
                wrong += len(got) != len(expected) or not np.allclose(got, expected, atol=1e-5)
                wrong += not str(hits.guarantee).startswith("exact")
                wrong += not all(collection.kept(kept)[int(hit.id)] for hit in hits)
        found[name] = {"answers": answers, "short": short, "wrong": wrong}
    return found


def _scores(collection: Collection, query: Query, weights: dict[str, float]) -> NDArray[np.float64]:
    """The blend of every document."""
    parts = {
        "dense": lambda: collection.vectors.astype(np.float64) @ query.dense.astype(np.float64),
        "lexical": lambda: _sums(collection.weights, query, query.weights.astype(np.float64)),
        "bm25": lambda: _bm25(collection, query),
    }
    total = np.zeros(len(collection))
    for leg, weight in weights.items():
        total += weight * parts[leg]()
    return total / sum(weights.values())


def _sums(matrix: Any, query: Query, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    column = np.zeros(matrix.shape[1])
    column[query.terms] = weights
    return np.asarray(matrix @ column)


def _bm25(collection: Collection, query: Query) -> NDArray[np.float64]:
    """Every word stands once in a text; Lucene's formula, divided by the query's upper bound."""
    words = collection.words
    lengths = np.diff(words.indptr)
    frequencies = np.bincount(words.indices, minlength=words.shape[1])[query.terms]
    idf = np.log(1 + (len(collection) - frequencies + 0.5) / (frequencies + 0.5)) * (frequencies > 0)
    norm = 1 + 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
    return _sums(words, query, idf) / norm / idf.sum()


def evaluation(index: Index, repeats: int) -> dict[str, Any]:
    """Filter of three clauses -> median CPU milliseconds of evaluating it alone, and how many passages it keeps."""
    found = {}
    with index._reading() as snapshot:  # noqa: SLF001 - what is measured is a part of a search
        for name, given in THREE.items():
            spent = []
            for _ in range(repeats):
                snapshot.selections.clear()
                started = time.process_time()
                allowed = select(snapshot, as_filter(given))
                spent.append(1000 * (time.process_time() - started))
            kept = sum(int(np.bitwise_count(one).sum()) for one in allowed if one is not None)
            found[name] = {"filter": str(as_filter(given)), "ms": statistics.median(spent), "kept": kept}
    return found
