"""Warming: compiles the loops, so that no query waits for it.

Imports the kernels. numba keeps what it compiled beside the package, or in the user's cache directory where the package
cannot be written; then this takes a fraction of a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

_done = False


def warm(say: Callable[[str], None] | None = None) -> float:
    """Compile or load every loop: the seconds it took.

    Args:
        say: is told if something had to be compiled, which is once for each version of m3search and numba.
    """
    global _done
    if _done:
        return 0.0
    started = time.perf_counter()
    from m3search.retrieval import field_search
    from m3search.retrieval.scratch import scratch_for

    loops: tuple[Any, ...] = field_search.search_field, field_search.score_passages, field_search.find_tokens
    search_field, score_passages, find_tokens = loops
    tokens, weights, scratch = np.empty(0, np.uint32), np.empty(0), scratch_for(1, 1)
    places, numbers = np.empty((0, field_search.WIDTH), np.int64), np.empty((0, 0), np.int64)
    search_field(places, tokens, numbers, weights, np.empty(0, np.int64), weights, 1, -1, 0.0, 0.0, 1.0, scratch)
    nowhere, passages = np.zeros(field_search.WIDTH, np.int64), np.empty(0, np.uint32)
    score_passages(nowhere, passages, np.empty(0, np.int64), weights, 0.0, 0.0, 1.0)
    find_tokens(nowhere, tokens, np.empty(0, np.int64))
    seconds = time.perf_counter() - started
    compiled = any(loop.stats.cache_misses for loop in loops)
    if say is not None and compiled:
        say(f"m3search compiled its search loops in {seconds:.1f} s; from now on they are loaded from numba's cache")
    _done = True
    return seconds
