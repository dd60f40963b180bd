"""GraphWalk: the search of FAISS's HNSW graph for the passages nearest to a query, in a compiled loop.

Imports numba. It finds what FAISS finds, in half of the time: new neighbours' codes are asked for before the first of them is
scored, a byte a passage tells who was met, and nothing is made for a query. Owns the rows of addresses that the loop takes.
FAISS itself searches with a filter, and where so many are wanted that keeping them in order takes longer than scoring.
Source: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, arXiv 1603.09320,
algorithms 2 and 5. Invariant: what is read lies in the index's arrays, whatever numbers stand in them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numba import carray, njit

from m3search.retrieval.addresses import pointer
from m3search.retrieval.compiling import borrowing, compiled
from m3search.retrieval.intrinsics import prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import DenseIndex

LARGEST_EFFORT = 1024
"""FAISS, which keeps no order, is faster with more."""

_CODES, _NEIGHBOURS, _OFFSETS, _SCALE = 0, 1, 2, 3
_PASSAGES, _DIM, _LOWEST, _LINKS, _ENTRY, _LEVELS, _SIZE = 4, 5, 6, 7, 8, 9, 10
_LINE = 64
_MOST_LINKS = 256  # twice the largest M


def graph_addresses(index: DenseIndex) -> NDArray[np.int64]:
    """The row of an index's graph; worthless once the index is gone."""
    if index.addresses is None:
        graph = index.graph
        arrays = (graph.codes, graph.neighbours, graph.offsets, graph.scale)
        numbers = (
            index.passages,
            index.dim,
            graph.lowest,
            graph.links,
            graph.entry,
            graph.levels,
            len(graph.neighbours),
        )
        index.addresses = np.array([*(array.ctypes.data for array in arrays), *numbers], np.int64)
    return index.addresses


class _Thread(threading.local):
    """One thread's arrays, kept from query to query and grown to the largest index."""

    def __init__(self) -> None:
        self.passages = self.dim = -1
        self.row: NDArray[np.int64]
        self.arrays: tuple[NDArray[np.generic], ...]


_thread = _Thread()


def walk_scratch(index: DenseIndex) -> NDArray[np.int64]:
    """Where this thread's arrays lie: who was met, at which walk; passages in view, their scores, whether still to be left; the
    query's factors; new neighbours.
    """
    if index.passages > _thread.passages or index.dim > _thread.dim:
        _thread.passages, _thread.dim = max(index.passages, _thread.passages), max(index.dim, _thread.dim)
        _thread.arrays = (
            np.zeros(_thread.passages, np.uint8),
            np.zeros(1, np.uint8),
            np.empty(LARGEST_EFFORT, np.int64),
            np.empty(LARGEST_EFFORT, np.float32),
            np.empty(LARGEST_EFFORT, np.uint8),
            np.empty(_thread.dim, np.float32),
            np.empty(_MOST_LINKS, np.int64),
        )
        _thread.row = np.array([array.ctypes.data for array in _thread.arrays], np.int64)
    return _thread.row


@compiled
def walk(
    graph: NDArray[np.int64],
    scratch: NDArray[np.int64],
    vector: NDArray[np.float32],
    effort: int,
    rows: NDArray[np.int64],
) -> int:
    """The nearest passages by their codes, best first: how many there are.

    Args:
        graph: of `graph_addresses`.
        scratch: of `walk_scratch`, for the same index.
        vector: f32[dim].
        effort: how many passages are kept in view, up to `LARGEST_EFFORT`.
        rows: i64[at most effort], is filled.
    """
    passages, dim = graph[_PASSAGES], graph[_DIM]
    return _walk(
        (passages, dim, graph[_LOWEST], graph[_LINKS], graph[_ENTRY], graph[_LEVELS]),
        carray(pointer(graph[_CODES], np.uint8), (passages * dim,)),
        carray(pointer(graph[_NEIGHBOURS], np.int32), (graph[_SIZE],)),
        carray(pointer(graph[_OFFSETS], np.int64), (passages,)),
        carray(pointer(graph[_SCALE], np.float32), (dim,)),
        carray(pointer(scratch[0], np.uint8), (passages,)),
        carray(pointer(scratch[1], np.uint8), (1,)),
        carray(pointer(scratch[2], np.int64), (effort,)),
        carray(pointer(scratch[3], np.float32), (effort,)),
        carray(pointer(scratch[4], np.uint8), (effort,)),
        carray(pointer(scratch[5], np.float32), (dim,)),
        carray(pointer(scratch[6], np.int64), (graph[_LOWEST],)),
        vector,
        rows,
    )


@njit(
    cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, _nrt=False
)  # a proposal's sum may round as it likes
def _score(factors: NDArray[np.float32], code: NDArray[np.uint8]) -> np.float32:
    total = np.float32(0)
    for place in range(len(factors)):
        total += factors[place] * np.float32(code[place])
    return total


@borrowing
def _ask_for(codes: NDArray[np.uint8], passage: int, dim: int) -> None:
    for line in range(0, dim, _LINE):
        prefetch(codes, passage * dim + line)


@borrowing
def _walk(
    numbers: tuple[int, int, int, int, int, int],
    codes: NDArray[np.uint8],
    neighbours: NDArray[np.int32],
    offsets: NDArray[np.int64],
    scale: NDArray[np.float32],
    met: NDArray[np.uint8],
    walks: NDArray[np.uint8],
    view: NDArray[np.int64],
    scores: NDArray[np.float32],
    waiting: NDArray[np.uint8],
    factors: NDArray[np.float32],
    fresh: NDArray[np.int64],
    vector: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> int:
    dim = numbers[1]
    for place in range(dim):
        factors[place] = vector[place] * scale[place]
    nearest, best = _descend(numbers, codes, neighbours, offsets, factors)
    if walks[0] == 255:  # numbers of walks begin again
        met[:] = 0
        walks[0] = 0
    walks[0] += 1
    this = walks[0]
    view[0], scores[0], waiting[0], met[nearest] = nearest, best, 1, this
    count, at = 1, 0
    while at < count:
        if not waiting[at]:
            at += 1
            continue
        waiting[at] = 0
        new = _meet(numbers, codes, neighbours, offsets[view[at]], met, this, fresh)
        first = at + 1
        for number in range(new):
            passage = fresh[number]
            score = _score(factors, codes[passage * dim : (passage + 1) * dim])
            if count < len(view):
                count += 1
            elif not score > scores[count - 1]:
                continue
            place = count - 1
            while place > 0 and scores[place - 1] < score:
                view[place], scores[place], waiting[place] = view[place - 1], scores[place - 1], waiting[place - 1]
                place -= 1
            view[place], scores[place], waiting[place] = passage, score, 1
            first = min(first, place)
        at = first
    count = min(count, len(rows))
    for place in range(count):
        rows[place] = view[place]
    return count


@borrowing
def _meet(
    numbers: tuple[int, int, int, int, int, int],
    codes: NDArray[np.uint8],
    neighbours: NDArray[np.int32],
    start: int,
    met: NDArray[np.uint8],
    this: int,
    fresh: NDArray[np.int64],
) -> int:
    """Asks for the codes of the passages behind links that this walk has not met: how many there are."""
    passages, dim, lowest, _links, _entry, _levels = numbers
    new = 0
    for link in range(max(start, 0), min(start + lowest, len(neighbours))):
        neighbour = np.int64(neighbours[link])
        if not 0 <= neighbour < passages:
            break
        if met[neighbour] != this:
            met[neighbour] = this
            _ask_for(codes, neighbour, dim)
            fresh[new] = neighbour
            new += 1
    return new


@borrowing
def _descend(
    numbers: tuple[int, int, int, int, int, int],
    codes: NDArray[np.uint8],
    neighbours: NDArray[np.int32],
    offsets: NDArray[np.int64],
    factors: NDArray[np.float32],
) -> tuple[int, np.float32]:
    """The passage of the lowest level that the upper levels lead to, and its score."""
    passages, dim, lowest, links, entry, levels = numbers
    nearest = entry
    best = _score(factors, codes[nearest * dim : (nearest + 1) * dim])
    for level in range(levels, 0, -1):
        better = True
        while better:
            better = False
            start = max(offsets[nearest] + lowest + (level - 1) * links, 0)
            stop = min(start + links, len(neighbours))
            for link in range(start, stop):
                if 0 <= neighbours[link] < passages:
                    _ask_for(codes, np.int64(neighbours[link]), dim)
            for link in range(start, stop):
                neighbour = np.int64(neighbours[link])
                if not 0 <= neighbour < passages:
                    break
                score = _score(factors, codes[neighbour * dim : (neighbour + 1) * dim])
                if score > best:
                    nearest, best, better = neighbour, score, True
    return nearest, best
