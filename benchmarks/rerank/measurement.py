"""Measurement: the times of all contestants over one workload, and how many of the ten best by fp32 are among theirs.

Contestants take turns in an order that is drawn anew for every query, so none inherits the caches that another has warmed. A
time is CPU time of the whole process, so a helper thread counts; a query's time is the median of its passes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.progress import say

from rerank.contestants import NAMES, Contestant, einsum, opened
from rerank.workload import Workload

TOP = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """Passes over the queries, and the seed of every order."""

    passes: int = 5
    seed: int = 0


def measure(workload: Workload, plan: Plan, folder: Path, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Builds, checks and times; what is in the result is ready for JSON."""
    with opened(workload, folder, names) as (contestants, sizes):
        say(f"{workload.title}: overlap")
        overlaps = _overlaps(workload, contestants)
        say(f"{workload.title}: times")
        times = _times(workload, contestants, plan)
    candidate_tokens = [sum(len(workload.documents[n]) for n in numbers) for numbers in workload.candidates]
    return {
        "title": workload.title,
        "dim": workload.dim,
        "documents": len(workload.documents),
        "tokens": workload.tokens,
        "queries": len(workload.queries),
        "query_tokens": float(np.mean([len(query) for query in workload.queries])),
        "candidates": float(np.mean([len(numbers) for numbers in workload.candidates])),
        "candidate_tokens": float(np.mean(candidate_tokens)),
        "bytes": sizes,
        "contestants": {name: {**times[name], **overlaps[name]} for name in names},
    }


def _overlaps(workload: Workload, contestants: dict[str, Contestant]) -> dict[str, dict[str, float]]:
    """Tie-aware: whoever scores as much as the tenth by fp32 counts."""
    truth = einsum(workload.documents)
    shares: dict[str, list[float]] = {name: [] for name in contestants}
    for query, numbers in zip(workload.queries, workload.candidates, strict=True):
        scores = truth(query, numbers)
        top = min(TOP, len(numbers))
        enough = set(numbers[scores >= np.sort(scores)[-top]].tolist())
        for name, contestant in contestants.items():
            found = contestant(query, numbers, top)
            shares[name].append(len(enough & set(found.tolist())) / top)
    return {name: {f"overlap@{TOP}": float(np.mean(values))} for name, values in shares.items()}


def _times(workload: Workload, contestants: dict[str, Contestant], plan: Plan) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(plan.seed)
    names = list(contestants)
    taken = np.empty((plan.passes, len(workload.queries), len(names)))
    gc.disable()
    try:
        for one in range(plan.passes):
            for number in rng.permutation(len(workload.queries)):
                query, numbers = workload.queries[number], workload.candidates[number]
                for place in rng.permutation(len(names)):
                    started = time.process_time_ns()
                    contestants[names[place]](query, numbers, TOP)
                    taken[one, number, place] = (time.process_time_ns() - started) / 1e6
    finally:
        gc.enable()
    queries = np.median(taken, axis=0)
    return {
        name: {"median_ms": float(np.median(queries[:, place])), "mean_ms": float(queries[:, place].mean())}
        for place, name in enumerate(names)
    }
