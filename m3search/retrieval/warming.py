"""Warming: compiles the loops, so that no query waits for it.

Imports the kernels, on use. numba keeps what it compiled beside the package, or in the user's cache directory where the package
cannot be written. `loop_cache` says whether it has; then a build and an opening load nothing, and the first search that needs
a loop loads it, which takes half a second. Invariant: whoever had to wait for a compiler is told so.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from m3search.retrieval.loop_cache import SOURCES, LoopCache

Say = Callable[[str], None]

_lock = threading.Lock()
_loaded: set[str] = set()
_ready: set[frozenset[str]] = set()
_compiled = False


def ensure_compiled(say: Say | None = None) -> float:
    """See that every loop is compiled, and load none where that was done before: the seconds it took.

    Args:
        say: is told if something has to be compiled, which is once for each version of m3search and numba.
    """
    global _compiled
    if not _compiled and not LoopCache().is_warm():
        return warm(say)
    _compiled = True
    return 0.0


def warm(say: Say | None = None) -> float:
    """Compile or load every loop: the seconds it took."""
    global _compiled
    with _lock:
        if _loaded >= set(_LOOPS):
            return 0.0
        started = time.perf_counter()
        cache = LoopCache()
        if cache.is_warm():
            with _uncollected():
                _run(_LOOPS, say)
        else:
            _compile(cache, say)
        _compiled = True
        return time.perf_counter() - started


def load_loops(legs: Iterable[str], say: Say | None = None) -> None:
    """Load the loops that a search over these legs needs; once, and later calls cost nothing.

    Args:
        legs: of the search.
        say: is told if they had to be compiled after all.
    """
    asked = frozenset(legs)
    if asked in _ready:
        return
    needed = {name for leg in asked for name in _LOOPS_OF[leg]}
    if "dense" in asked or {"lexical", "bm25"} <= asked:  # what one of these two finds alone has its scores already
        needed.add("joint")
    if not needed <= _loaded:
        with _lock, _uncollected():
            _run(needed, say)
    _ready.add(asked)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No collection of garbage while modules are imported: of 300,000 objects that stay, it takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
            gc.collect(0)  # or the next query would look through them


def _run(names: Iterable[str], say: Say | None) -> list[Any]:
    """Calls the loops for what is stored, and with nothing to do: the loops."""
    started = time.perf_counter()
    loops = [loop for name in sorted(set(names) - _loaded) for loop in _LOOPS[name]()]
    _loaded.update(names)
    if say is not None and any(loop.stats.cache_misses for loop in loops):
        seconds = time.perf_counter() - started
        say(f"m3search compiled its search loops in {seconds:.1f} s; from now on they are loaded from numba's cache")
    return loops


def _compile(cache: LoopCache, say: Say | None) -> None:
    with cache.alone() as alone:
        # another process may have compiled while this one waited
        whole = alone and not _loaded and (cache.is_of_these_sources() or _forget())
        if say is not None and not cache.is_warm():
            say("m3search compiles its search loops, once for each version of m3search and numba: half a minute or two")
        loops = _run(_LOOPS, say)
        kept = [_kept(loop) for loop in loops]
        if whole and all(kept):
            cache.mark(sorted(file for files in kept for file in files))


def _forget() -> bool:
    """Removes what numba kept of other sources; not where it is in use here, and whether it did."""
    modules = [
        importlib.import_module(f"m3search.{source.removesuffix('.py').replace('/', '.')}") for source in SOURCES
    ]
    loops = [(module, loop) for module in modules for loop in _loops_in(module)]
    if any(loop.signatures for _, loop in loops):
        return False
    for folder, name in {(loop.stats.cache_path, module.__name__.split(".")[-1]) for module, loop in loops}:
        for file in Path(folder).glob(f"{name}.*.nb[ci]"):
            file.unlink(missing_ok=True)
    return True


def _loops_in(module: ModuleType) -> Iterator[Any]:
    from numba.extending import is_jitted

    for value in vars(module).values():
        if is_jitted(value) and value.py_func.__module__ == module.__name__:
            yield value


def _kept(loop: Any) -> list[Path]:  # noqa: ANN401 - numba's own type
    """The files that numba keeps of a loop."""
    name, line = loop.py_func.__module__.split(".")[-1], loop.py_func.__code__.co_firstlineno
    return list(Path(loop.stats.cache_path).glob(f"{name}.{loop.py_func.__qualname__}-{line}.*.nb[ci]"))


def _search_loops() -> list[Any]:
    from m3search.retrieval import field_search
    from m3search.retrieval.scratch import scratch_for

    loops: list[Any] = [field_search.search_field, field_search.score_passages, field_search.find_tokens]
    search_field, score_passages, find_tokens = loops
    tokens, weights, scratch = np.empty(0, np.uint32), np.empty(0), scratch_for(1, 1)
    places, numbers = np.empty((0, field_search.WIDTH), np.int64), np.empty((0, 0), np.int64)
    search_field(places, tokens, numbers, weights, np.empty(0, np.int64), weights, 1, 0.0, 0.0, 1.0, scratch)
    nowhere, passages = np.zeros(field_search.WIDTH, np.int64), np.empty(0, np.uint32)
    score_passages(nowhere, passages, np.empty(0, np.int64), weights, 0.0, 0.0, 1.0)
    find_tokens(nowhere, tokens, np.empty(0, np.int64))
    return loops


def _token_loops() -> list[Any]:
    from m3search.retrieval import max_sim

    return [max_sim.warm()]


def _term_loops() -> list[Any]:
    from m3search.retrieval import term_counts
    from m3search.storage import term_lookup

    term_lookup.warm()
    term_counts.warm()
    return [term_lookup.find_terms, term_lookup.prefixes_of, term_counts.count_terms]


def _vector_loops() -> list[Any]:
    from m3search.retrieval import products

    products.scores_of(np.empty(1), np.empty((0, 1), np.float32), np.empty(0, np.int64))
    return [products.score]


def _joint_loops() -> list[Any]:
    from m3search.retrieval import joint_loop as joint

    whole, numbers, none = np.empty(0, np.int64), np.empty((0, 0), np.int64), np.empty(0)
    joint.complete_candidates(
        whole, none, whole, none, whole, none, np.ones(5), 1, whole, np.empty((0, 0)), np.empty((0, 5), np.int64), True, none,
        joint.NOWHERE, np.empty(0, np.uint32), none, joint.NOWHERE, numbers, none,
    )  # fmt: skip
    return [joint.complete_candidates]


def _build_loops() -> list[Any]:
    from m3search.storage import inversion

    inversion.warm()
    return [inversion.largest_weights, inversion.invert, inversion.rank_impacts, inversion.start_groups]


_LOOPS: dict[str, Callable[[], list[Any]]] = {
    "search": _search_loops,
    "terms": _term_loops,
    "tokens": _token_loops,
    "vectors": _vector_loops,
    "joint": _joint_loops,
    "build": _build_loops,
}
_LOOPS_OF = {"lexical": ("search",), "bm25": ("search", "terms"), "colbert": ("tokens",), "dense": ("vectors",)}
