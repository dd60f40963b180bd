"""Warming: compiles the loops for all types that are stored, so that no query waits for it.

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
    from m3search.retrieval import forward, segment_search
    from m3search.retrieval.scratch import scratch_for
    from m3search.storage.block_postings import BlockArrays, block_arrays
    from m3search.storage.postings import ForwardRows

    # numba's own types know nothing of read-only arrays
    search_segment: Any = segment_search.search_segment
    score_weights: Any = forward.score_weights
    score_frequencies: Any = forward.score_frequencies
    ends, terms = _stored(np.array([0, 1], np.int64)), _stored(np.array([0], np.uint32))
    arrays = block_arrays(ends, terms, np.ones(1, np.float32), 1)
    blocks = BlockArrays(**{name: _stored(array) for name, array in arrays.items()})
    passages, weights, scores = np.zeros(1, np.uint32), np.ones(1), np.empty(1)
    request = segment_search.Request(1, 0, 0.0, 1.0, 1.0)
    for dtype in ("u2", "f4", "u4"):
        rows = ForwardRows(ends, terms, _stored(np.ones(1, dtype)), _stored(np.ones(1, np.uint32)))
        everything, saturation = np.empty(0, np.uint64), forward.Saturation()
        numbers = np.zeros(1, np.int64)
        search_segment(numbers, weights, blocks, rows, everything, request, saturation, scratch_for(1, 1))
        if dtype != "u4":
            score_weights(passages, passages, weights, rows, scores)
        if dtype != "f4":
            score_frequencies(passages, passages, weights, rows, saturation, scores)
    seconds = time.perf_counter() - started
    compiled = any(loop.stats.cache_misses for loop in (search_segment, score_weights, score_frequencies))
    if say is not None and compiled:
        say(f"m3search compiled its search loops in {seconds:.1f} s; from now on they are loaded from numba's cache")
    _done = True
    return seconds


def _stored(array: Any) -> Any:  # noqa: ANN401 - an array of any type
    """As arrays come from the store, for numba a type of its own: read-only."""
    array.flags.writeable = False
    return array
