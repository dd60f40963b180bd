"""Measurement: overlap with the true blend and time of all engines over one collection, in one process.

Engines and settings take turns in an order that is drawn anew for every query, so none inherits the caches that another has
warmed. A time is CPU time of the process, all threads; a query's time is the median of its passes, an engine's
the median of its queries.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from common.progress import say
from lexical.engine import UnavailableError

from hybrid.collection import Collection, Query
from hybrid.engine import Engine, Peer, Setting, label
from hybrid.frontier import frontier
from hybrid.memory import measured
from hybrid.store import built

_FEWER = ((0.25, 10), (0.05, 30), (0.005, 100))
"""An engine that takes longer than so many seconds is asked so many queries, so that it does not take most of the day."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: passes over the queries, the seed of every order, and whether memory is."""

    passes: int = 3
    seed: int = 0
    memory: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """An engine with a setting, and how many queries it is asked."""

    engine: Engine
    setting: Setting
    queries: int


def measure(collection: Collection, peers: Sequence[Peer], plan: Plan, *, fresh: Sequence[str] = ()) -> dict[str, Any]:
    """Builds, opens, tunes, checks and times; the result is ready for JSON.

    Raises:
        Exception: whatever goes wrong in ours; a peer that fails is named with its reason.
    """
    rows: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    points: list[_Point] = []
    closing = ExitStack()
    for peer in peers:
        say(f"{collection.name}: {peer.name}")
        try:
            own, its = _opened(peer, collection, plan, closing, fresh=peer.name in fresh)
        except UnavailableError as error:
            missing[peer.name] = str(error)
            continue
        except BaseException as error:  # a panic in Rust is no Exception
            if peer.name.startswith("m3search") or isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            missing[peer.name] = f"failed: {type(error).__name__}: {error}".splitlines()[0][:300]
            continue
        rows |= its
        points += own
    timed = _timed(collection, points, plan)
    say(f"{collection.name}: overlap")
    for point, found in zip(points, timed, strict=True):
        asked = zip(collection.queries[: point.queries], collection.smallest, strict=False)
        overlaps = [_overlap(collection, point, query, smallest) for query, smallest in asked]
        one = {"overlap": float(np.mean(overlaps)), "worst": float(min(overlaps)), "queries": point.queries}
        rows[point.engine.name]["points"][label(point.setting)] = one | found
    closing.close()
    return {
        "name": collection.name,
        "about": collection.about,
        "queries": len(collection.queries),
        "query_terms": float(np.mean([len(query.terms) for query in collection.queries])),
        "document_terms": float(collection.ends[-1] / len(collection)),
        "engines": rows,
        "missing": missing,
    }


def _opened(
    peer: Peer, collection: Collection, plan: Plan, closing: ExitStack, *, fresh: bool
) -> tuple[list[_Point], dict[str, dict[str, Any]]]:
    """A peer's engines at the settings that are worth it, and what is known of each without asking it."""
    folder, known = built(peer, collection, fresh=fresh)
    memory = measured(peer.name, collection.folder, folder) if plan.memory else {}
    opened = peer.open(collection, folder)
    closing.callback(opened.close)
    points, rows = [], {}
    for engine in opened.engines:
        settings = frontier(engine, collection)
        points += [_Point(engine, one, _asked(engine, one, collection)) for one in settings]
        rows[engine.name] = {
            "peer": peer.name,
            "kind": engine.kind,
            "version": known["version"],
            "build_seconds": known["seconds"],
            "bytes": opened.bytes,
            "memory": memory,
            "tried": len(engine.settings),
            "notes": {**known["notes"], **opened.notes},
            "points": {},
        }
    return points, rows


def _asked(engine: Engine, setting: Setting, collection: Collection) -> int:
    times = []
    for query in collection.tuning[:5]:
        prepared = engine.prepare(query, setting)
        started = time.process_time_ns()
        engine.search(prepared)
        times.append(time.process_time_ns() - started)
    seconds, queries = np.median(times) / 1e9, len(collection.queries)
    return next((min(fewer, queries) for limit, fewer in _FEWER if seconds > limit), queries)


def _overlap(collection: Collection, point: _Point, query: Query, smallest: float) -> float:
    engine = point.engine
    return collection.overlap(query, smallest, engine.answer(engine.search(engine.prepare(query, point.setting))))


def _timed(collection: Collection, points: Sequence[_Point], plan: Plan) -> list[dict[str, Any]]:
    rng = np.random.default_rng(plan.seed)
    queries = collection.queries
    times = np.full((len(points), len(queries), plan.passes), np.nan)
    walls = np.full_like(times, np.nan)
    accounts: list[list[Mapping[str, Any]]] = [[] for _ in points]
    clock = time.process_time_ns
    gc.collect()
    gc.disable()
    try:
        for number in range(plan.passes):
            say(f"{collection.name}: pass {number + 1} of {plan.passes}")
            for query in rng.permutation(len(queries)):
                for place in rng.permutation(len(points)):
                    point = points[place]
                    if query >= point.queries:
                        continue
                    prepared, search = point.engine.prepare(queries[query], point.setting), point.engine.search
                    wall, started = time.perf_counter_ns(), clock()
                    found = search(prepared)
                    times[place, query, number] = clock() - started
                    walls[place, query, number] = time.perf_counter_ns() - wall
                    accounts[place].append(point.engine.account(found))
                    del found
            gc.collect()
    finally:
        gc.enable()
    return [
        _summary(times[place, : point.queries], walls[place, : point.queries]) | _accounted(accounts[place])
        for place, point in enumerate(points)
    ]


def _summary(times: Any, walls: Any) -> dict[str, float]:
    per_query = np.median(times, axis=1) / 1e6
    return {
        "median_ms": float(np.median(per_query)),
        "mean_ms": float(np.mean(per_query)),
        "p95_ms": float(np.percentile(per_query, 95)),
        "wall_median_ms": float(np.median(np.median(walls, axis=1) / 1e6)),
    }


def _accounted(accounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an engine said of its answers: how often each guarantee, and medians of times."""
    made: dict[str, Any] = {}
    guarantees = Counter(one["guarantee"] for one in accounts if "guarantee" in one)
    if guarantees:
        made["guarantees"] = {name: count / len(accounts) for name, count in guarantees.most_common()}
    overheads = [one["overhead_ms"] for one in accounts if "overhead_ms" in one]
    if overheads:
        made["overhead_ms"] = float(np.median(overheads))
        names = dict.fromkeys(name for one in accounts for name in one["steps_ms"])
        made["steps_ms"] = {
            name: float(np.median([one["steps_ms"].get(name, 0.0) for one in accounts])) for name in names
        }
    return made
