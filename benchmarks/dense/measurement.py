"""Measurement: recall and time of every engine at every effort, in one process.

Engines and efforts take turns in an order that is drawn anew for every query, so none inherits the caches that another has
warmed. A time is CPU time of the process; a query's time is the median of its passes, an engine's the median of its queries.
"""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from common.progress import say

from dense.collection import Collection
from dense.engines import Engine, UnavailableError

_SLOW_MS = 5.0
"""An engine that takes longer is timed with fewer queries, so that it does not take most of the day."""

_SLOW_QUERIES = 100


def measure(
    collection: Collection, engines: Sequence[Engine], passes: int, seed: int, *, fresh: Sequence[str] = ()
) -> dict[str, Any]:
    """Builds what is not there yet, opens, checks and times; the result is ready for JSON."""
    rows: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    open_engines = []
    for engine in engines:
        try:
            built = _built(engine, collection, fresh=engine.name in fresh)
            say(f"{len(collection):,}: opening {engine.name}")
            size = engine.open(collection, collection.folder / engine.name)
        except UnavailableError as error:
            missing[engine.name] = str(error)
            continue
        rows[engine.name] = {**built, "bytes": size, "notes": getattr(engine, "notes", {})}
        open_engines.append(engine)
    for engine in open_engines:
        rows[engine.name]["efforts"] = {str(effort): _checked(collection, engine, effort) for effort in engine.efforts}
    for (name, effort), found in _timed(collection, open_engines, passes, seed).items():
        rows[name]["efforts"][str(effort)] |= found
    return {"passages": len(collection), "queries": len(collection.queries), "engines": rows, "missing": missing}


def _built(engine: Engine, collection: Collection, *, fresh: bool) -> dict[str, Any]:
    """Version, and CPU seconds of the build; an index of an earlier run is taken as it is."""
    folder = collection.folder / engine.name
    known = folder / "built.json"
    version = engine.version()
    if known.exists() and not fresh:
        built: dict[str, Any] = json.loads(known.read_text())
        if built["version"] == version:
            return built
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"{len(collection):,}: building {engine.name}")
    started = time.process_time()
    engine.build(collection, folder)
    built = {"version": version, "build_seconds": time.process_time() - started}
    known.write_text(json.dumps(built))
    return built


def _checked(collection: Collection, engine: Engine, effort: int) -> dict[str, float]:
    found = []
    started = time.process_time()
    for query in collection.queries:
        found.append(engine.answer(engine.search(engine.prepare(query, effort))))
        if len(found) == _SLOW_QUERIES and time.process_time() - started > _SLOW_MS * _SLOW_QUERIES / 1000:
            break
    part = Collection(collection.folder, collection.vectors, collection.queries, collection.truth[: len(found)])
    return {"recall": part.recall(np.array(found)), "queries": len(found)}


def _timed(
    collection: Collection, engines: Sequence[Engine], passes: int, seed: int
) -> dict[tuple[str, int], dict[str, float]]:
    rng = np.random.default_rng(seed)
    settings = [(engine, effort) for engine in engines for effort in engine.efforts]
    queries = collection.queries
    slow = {place for place, (engine, effort) in enumerate(settings) if _is_slow(engine, effort, queries[:20])}
    times = np.full((len(settings), len(queries), passes), np.nan)
    clock = time.process_time_ns
    gc.collect()
    gc.disable()
    try:
        for number in range(passes):
            say(f"{len(collection):,}: pass {number + 1} of {passes}")
            for query in rng.permutation(len(queries)):
                for place in rng.permutation(len(settings)):
                    if place in slow and query >= _SLOW_QUERIES:
                        continue
                    engine, effort = settings[place]
                    prepared, search = engine.prepare(queries[query], effort), engine.search
                    started = clock()
                    found = search(prepared)
                    times[place, query, number] = clock() - started
                    del found
            gc.collect()
    finally:
        gc.enable()
    summary = {}
    for place, (engine, effort) in enumerate(settings):
        own = times[place][: _SLOW_QUERIES if place in slow else None]
        per_query = np.median(own, axis=1) / 1e6
        summary[engine.name, effort] = {
            "median_ms": float(np.median(per_query)),
            "mean_ms": float(np.mean(per_query)),
            "p95_ms": float(np.percentile(per_query, 95)),
        }
    return summary


def _is_slow(engine: Engine, effort: int, queries: Any) -> bool:
    started = time.process_time()
    for query in queries:
        engine.search(engine.prepare(query, effort))
    return (time.process_time() - started) / len(queries) > _SLOW_MS / 1000
