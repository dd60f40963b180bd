"""Frontier: which settings of an engine are worth timing: for every goal the fastest that reaches it on the tuning queries.

All settings are asked a few queries; those that are near the front are asked all of them. What finds everything in the tuning
queries may miss something in others, so settings that take longer for it are timed too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hybrid.collection import Collection
from hybrid.engine import Engine, Setting

GOALS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

_ALL = 12  # settings, of which none is left out
_FEW = 40
_NEAR, _NEAR_BEST = 1.3, 4.0
"""A setting is near the front if none that finds as much takes less than its time by this factor; of those that find most, more
are kept, as few queries do not tell them apart."""

_ALIKE = 0.005
_LONGER = (1.5, 2.5)
"""By what factors settings may take longer than the fastest that finds most."""

_SLOW_NS = {10: 100e6, 30: 20e6, 100: 5e6}
"""After so many queries a setting with a larger median, in nanoseconds, is asked no more of them."""


@dataclass(slots=True, eq=False)
class _Trial:
    """What a setting took and found so far, query by query; `slow` is asked no more."""

    setting: Setting
    times: list[int] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)
    slow: bool = False

    @property
    def time(self) -> float:
        return float(np.median(self.times))

    @property
    def overlap(self) -> float:
        return float(np.mean(self.overlaps))

    def ask(self, engine: Engine, collection: Collection, until: int) -> None:
        asked = zip(collection.tuning[:until], collection.tuning_smallest, strict=False)
        for query, smallest in list(asked)[len(self.times) :]:
            if self.slow:
                break
            prepared = engine.prepare(query, self.setting)
            started = time.process_time_ns()
            found = engine.search(prepared)
            self.times.append(time.process_time_ns() - started)
            self.overlaps.append(collection.overlap(query, smallest, engine.answer(found)))
            self.slow = self.time > _SLOW_NS.get(len(self.times), np.inf)


def frontier(engine: Engine, collection: Collection) -> list[Setting]:
    """In the order of their times; the engine by itself (an empty setting) and the most precise one are always among them.

    All of an engine that has few.
    """
    if len(engine.settings) <= _ALL:
        return list(engine.settings)
    trials = [_Trial(setting) for setting in engine.settings]
    for trial in trials:
        trial.ask(engine, collection, _FEW)
    trials = [trial for trial in trials if not trial.setting or _is_near(trial, trials)]
    for trial in trials:
        trial.ask(engine, collection, len(collection.tuning))
    best = max(trial.overlap for trial in trials)
    chosen = [trial for trial in trials if not trial.setting]
    goals = (*(goal for goal in GOALS if goal < best), best)
    chosen += [min((one for one in trials if one.overlap >= goal), key=lambda one: one.time) for goal in goals]
    limits = [factor * chosen[-1].time for factor in _LONGER]
    chosen += [
        max((one for one in trials if one.overlap == best and one.time <= limit), key=lambda one: one.time)
        for limit in limits
    ]
    return [trial.setting for trial in sorted(trials, key=lambda one: one.time) if trial in chosen]


def _is_near(trial: _Trial, trials: Sequence[_Trial]) -> bool:
    best = max(other.overlap for other in trials) - _ALIKE
    overlap, factor = (best, _NEAR_BEST) if trial.overlap >= best else (trial.overlap, _NEAR)
    return trial.time <= factor * min(other.time for other in trials if other.overlap >= overlap)
