"""Frontier: which settings of an engine are worth timing: for every goal the fastest that reaches it on the tuning queries."""

from __future__ import annotations

import time

import numpy as np

from hybrid.collection import Collection
from hybrid.engine import Engine, Setting

GOALS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

_FEWER = {10: 50e6, 30: 10e6, 80: 2e6}
"""After so many queries a setting with a larger median, in nanoseconds, is asked no more of them."""


def frontier(engine: Engine, collection: Collection) -> list[Setting]:
    """In the order of their times; the engine by itself (an empty setting) and the most precise one are always among them."""
    if len(engine.settings) == 1:
        return list(engine.settings)
    tried = [(*_tried(engine, setting, collection), setting) for setting in engine.settings]
    best = max(overlap for _, overlap, _ in tried)
    chosen = {id(setting): setting for setting in engine.settings if not setting}
    for goal in (*(goal for goal in GOALS if goal < best), best):
        _, _, setting = min((one for one in tried if one[1] >= goal), key=lambda one: one[0])
        chosen[id(setting)] = setting
    return [setting for _, _, setting in sorted(tried, key=lambda one: one[0]) if id(setting) in chosen]


def _tried(engine: Engine, setting: Setting, collection: Collection) -> tuple[float, float]:
    """Median nanoseconds and mean overlap."""
    times, overlaps = [], []
    for query, smallest in zip(collection.tuning, collection.tuning_smallest, strict=False):
        prepared = engine.prepare(query, setting)
        started = time.process_time_ns()
        found = engine.search(prepared)
        times.append(time.process_time_ns() - started)
        overlaps.append(collection.overlap(query, smallest, engine.answer(found)))
        if len(times) in _FEWER and np.median(times) > _FEWER[len(times)]:
            break
    return float(np.median(times)), float(np.mean(overlaps))
