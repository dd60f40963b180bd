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
    from m3search.retrieval import block_max, forward
    from m3search.storage import block_arrays

    # numba's own types know nothing of read-only arrays
    search_blocks: Any = block_max.search_blocks
    score_weights: Any = forward.score_weights
    score_frequencies: Any = forward.score_frequencies

    rows = _stored(np.array([0, 1], np.int64)), _stored(np.array([0], np.uint32))
    arrays = {name: _stored(array) for name, array in block_arrays(*rows, np.ones(1, np.float32), 1).items()}
    none = np.empty(0, np.int64)
    search_blocks(
        arrays["rare_ends"][:1].copy(),
        arrays["rare_ends"][1:].copy(),
        np.ones(1, np.uint32),
        none,
        np.empty(0, np.uint32),
        *(arrays[name] for name in ("rare", "block_max", "block_starts", "group_starts", "local")),
        np.empty(0, np.uint64),
        *(1, 1, 1, 0, 0, 1.0),
        np.zeros(64, np.uint32),
        np.zeros(1, np.uint32),
        np.empty(1, np.uint32),
        np.empty(1, np.int32),
        np.empty(65, np.uint32),
        np.empty(65, np.uint32),
    )
    passages, weights, scores = np.zeros(1, np.uint32), np.ones(1), np.empty(1)
    query = passages, passages, weights, *rows
    for dtype in ("u2", "f4"):
        score_weights(*query, _stored(np.ones(1, dtype)), scores)
    for dtype in ("u2", "u4"):
        lengths = _stored(np.ones(1, np.uint32))
        score_frequencies(*query, _stored(np.ones(1, dtype)), lengths, 1.2, 0.75, 1.0, scores)
    seconds = time.perf_counter() - started
    compiled = any(loop.stats.cache_misses for loop in (search_blocks, score_weights, score_frequencies))
    if say is not None and compiled:
        say(f"m3search compiled its search loops in {seconds:.1f} s; from now on they are loaded from numba's cache")
    _done = True
    return seconds


def _stored(array: Any) -> Any:  # noqa: ANN401 - an array of any type
    """As arrays come from the store, for numba a type of its own: read-only."""
    array.flags.writeable = False
    return array
