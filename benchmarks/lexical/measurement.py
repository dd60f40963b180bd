"""Measurement: the times and the recall of all engines over one collection, in one process.

Engines take turns in an order that is drawn anew for every query, so none inherits the caches that another has warmed. Where
all take turns, each finds caches that were emptied by many others, which costs the faster ones more than the slower; so every
engine meets ours once more in a duel, where only these two take turns. A time is CPU time of the whole process, so a helper
thread counts; a query's time is the median of its passes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.progress import say

from lexical.collection import Collection
from lexical.engine import Engine, Opened, Peer, UnavailableError
from lexical.engines.ours import INDEX, LEG
from lexical.store import built
from lexical.truth import Truth, kth_scores, recall


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: result sizes, passes over the queries, and the seed of every order."""

    ks: Sequence[int] = (10, 100, 1000)
    passes: int = 5
    seed: int = 0


def measure(collection: Collection, peers: Sequence[Peer], plan: Plan, cache: Path, *, fresh: bool) -> dict[str, Any]:
    """Builds, opens, checks and times; what is in the result is ready for JSON.

    Raises:
        Exception: whatever goes wrong in ours; a peer that fails is named with its reason.
    """
    say(f"{collection.about['title']}: {collection.postings:,} postings, exact scores")
    truth = Truth(collection, [*collection.queries, *collection.tuning])
    engines: list[Engine] = []
    rows: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for peer in peers:
        say(f"{collection.name}: {peer.name}")
        try:
            folder, known = built(peer, collection, cache, fresh=fresh)
            opened = peer.open(collection, folder, truth, plan.ks)
            _ask_once(opened.engines, collection, plan)
        except UnavailableError as error:
            missing[peer.name] = str(error)
            continue
        except BaseException as error:  # a panic in Rust is no Exception
            if peer.name == LEG or isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            missing[peer.name] = f"failed: {type(error).__name__}: {error}"
            continue
        for engine in opened.engines:
            engines.append(engine)
            rows[engine.name] = _row(peer, opened, known, collection)
    checked = _check(collection, engines, truth, plan)
    timed = _time(collection, engines, plan)
    for engine in engines:
        rows[engine.name]["k"] = {str(k): {**timed[engine.name, k], **checked[engine.name, k]} for k in plan.ks}
    for engine, found in _duels(collection, engines, plan):
        rows[engine]["duel"] = found
    return {
        "about": collection.about,
        "postings": collection.postings,
        "terms": _terms(collection),
        "queries": len(collection.queries),
        "query_terms": float(np.mean([len(query.terms) for query in collection.queries])),
        "engines": rows,
        "missing": missing,
    }


def _row(peer: Peer, opened: Opened, known: dict[str, Any], collection: Collection) -> dict[str, Any]:
    seconds = known["seconds"] - known["notes"].get("aside_s", 0.0)
    alone = known["notes"].get("documents_alone_s")
    return {
        "peer": peer.name,
        "version": known["version"],
        "bytes": opened.bytes,
        "structure_bytes": opened.structure_bytes,
        "build_seconds": seconds,
        "build_postings_per_second": None if opened.bytes is None else collection.postings / seconds,
        "build_without_documents_postings_per_second": None
        if alone is None
        else collection.postings / (seconds - alone),
        "notes": {**known["notes"], **opened.notes},
    }


def _ask_once(engines: Sequence[Engine], collection: Collection, plan: Plan) -> None:
    """Every engine for every k, so that one that cannot answer is found out before the others have worked."""
    for engine in engines:
        prepared = engine.prepare(collection.queries[0])
        for k in plan.ks:
            engine.answer(engine.search(prepared, k))


def _check(
    collection: Collection, engines: Sequence[Engine], truth: Truth, plan: Plan
) -> dict[tuple[str, int], dict[str, float]]:
    """Recall, and the largest difference of a score to the truth; the engines' caches and kernels are warm after it."""
    say(f"{collection.name}: recall")
    found: dict[tuple[str, int], list[float]] = {(engine.name, k): [] for engine in engines for k in plan.ks}
    errors = dict.fromkeys(found, 0.0)
    for query in collection.queries:
        scores = truth.scores(query)
        wanted = kth_scores(scores, plan.ks)
        for engine in engines:
            prepared = engine.prepare(query)
            for k, one in zip(plan.ks, wanted, strict=True):
                ids, given = engine.answer(engine.search(prepared, k))
                found[engine.name, k].append(recall(ids, scores, one))
                errors[engine.name, k] = max(errors[engine.name, k], float(np.abs(given - scores[ids]).max(initial=0)))
    return {key: {"recall": float(np.mean(values)), "score_error": errors[key]} for key, values in found.items()}


def _duels(
    collection: Collection, engines: Sequence[Engine], plan: Plan
) -> Iterator[tuple[str, dict[str, dict[str, dict[str, float]]]]]:
    """Per peer's engine and k: its times and those of our leg, which nothing else came between."""
    ours = next((engine for engine in engines if engine.name == LEG), None)
    for engine in engines:
        if ours is not None and engine.name not in {LEG, INDEX}:
            say(f"{collection.name}: {engine.name} and {LEG} alone")
            timed = _time(collection, [engine, ours], plan)
            yield engine.name, {str(k): {"its": timed[engine.name, k], "ours": timed[LEG, k]} for k in plan.ks}


def _time(collection: Collection, engines: Sequence[Engine], plan: Plan) -> dict[tuple[str, int], dict[str, float]]:
    rng = np.random.default_rng(plan.seed)
    queries = collection.queries
    prepared = [[engine.prepare(query) for query in queries] for engine in engines]
    times = {k: np.empty((len(engines), len(queries), plan.passes)) for k in plan.ks}
    clock = time.process_time_ns
    gc.collect()
    gc.disable()
    try:
        for number in range(plan.passes):
            say(f"{collection.name}: pass {number + 1} of {plan.passes}")
            for k in rng.permutation(plan.ks).tolist():
                for query in rng.permutation(len(queries)):
                    for place in rng.permutation(len(engines)):
                        search, one = engines[place].search, prepared[place][query]
                        started = clock()
                        found = search(one, k)
                        times[k][place, query, number] = clock() - started
                        del found
                gc.collect()
    finally:
        gc.enable()
    summary = {}
    for k, measured in times.items():
        per_query = np.median(measured, axis=2) / 1e6
        for place, engine in enumerate(engines):
            one = per_query[place]
            summary[engine.name, k] = {
                "median_ms": float(np.median(one)),
                "mean_ms": float(np.mean(one)),
                "p95_ms": float(np.percentile(one, 95)),
            }
    return summary


def _terms(collection: Collection) -> int:
    """How many different terms there are."""
    there = np.zeros(collection.vocabulary, bool)
    for _, block in collection.blocks():
        there[block.indices] = True
    return int(there.sum())
