"""Products: inner products of a query with stored rows, in float64, in a compiled loop; and the rows that a graph proposes.

Imports numba. Invariant: every dense score is a `row_product`, so it is the same to the last bit in any company, whoever
proposed the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.retrieval.compiling import borrowing, compiled
from m3search.retrieval.graph_walk import LARGEST_EFFORT, graph_addresses, walk, walk_scratch
from m3search.retrieval.intrinsics import prefetch
from m3search.retrieval.row_product import row_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import DenseIndex

_LINE = 16  # numbers of a cache line
_TOGETHER = 4  # rows


@compiled
def score(
    wide: NDArray[np.float64],
    matrix: NDArray[np.float32],
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    ordered: bool,
    vector: NDArray[np.float32],
    effort: int,
    graph: NDArray[np.int64],
    scratch: NDArray[np.int64],
) -> int:
    """The products of some rows; how many these are.

    Args:
        wide: f64[dim].
        matrix: f32[n, dim], read-only.
        rows: i64[m], within the matrix; put in order by (-score, row) if that is asked for.
        scores: f64[m], is filled.
        ordered: whether to put them in order, quickly where they nearly are.
        vector: the same as `wide` in float32.
        effort: if not 0, the rows are first found by `walk`.
        graph: see `walk`.
        scratch: see `walk`.
    """
    count = len(rows)
    if effort:
        count = walk(graph, scratch, vector, effort, rows)
    score_rows(wide, matrix.reshape(-1), len(matrix), rows[:count], scores, ordered)
    return count


@borrowing
def score_rows(
    wide: NDArray[np.float64],
    numbers: NDArray[np.float32],
    stored: int,
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    ordered: bool,
) -> None:
    """The same of rows that lie one behind the other: `numbers` f32[stored * dim]."""
    count, dim = len(rows), len(wide)
    for first in range(0, count, _TOGETHER):
        # rows lie anywhere in the file: what is asked for together arrives together
        last = min(first + _TOGETHER, count)
        for number in range(first, last):
            for line in range(0, dim, _LINE):
                prefetch(numbers, rows[number] * dim + line)
        for number in range(first, last):
            row = min(max(rows[number], 0), stored - 1)  # of what a damaged index proposes, too
            score = row_product(wide, numbers, row * dim)
            place = number
            if ordered:
                while place > 0 and (
                    scores[place - 1] < score or (scores[place - 1] == score and rows[place - 1] > row)
                ):
                    scores[place], rows[place] = scores[place - 1], rows[place - 1]
                    place -= 1
            scores[place], rows[place] = score, row


__all__ = ["LARGEST_EFFORT", "NOWHERE", "score", "scores_of", "walked"]

NOWHERE = np.zeros(0, np.int64)
"""For a graph and scratch that are not used."""


def scores_of(
    wide: NDArray[np.float64], matrix: NDArray[np.float32], rows: NDArray[np.int64], *, ordered: bool = False
) -> NDArray[np.float64]:
    """f64[m] products of some rows, which are put in their order if that is asked for."""
    scores = np.empty(len(rows))
    score(wide, _read_only(matrix), rows, scores, ordered, _NOTHING, 0, NOWHERE, NOWHERE)
    return scores


def walked(
    vector: NDArray[np.float32],
    wide: NDArray[np.float64],
    matrix: NDArray[np.float32],
    index: DenseIndex,
    wanted: int,
    effort: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows i64[<= wanted] that an HNSW index proposes, and their products f64; ordered by (-product, row)."""
    rows, scores = np.empty(wanted, np.int64), np.empty(wanted)
    graph, scratch = graph_addresses(index), walk_scratch(index)
    count = score(wide, _read_only(matrix), rows, scores, True, vector, effort, graph, scratch)
    return (rows, scores) if count == wanted else (rows[:count], scores[:count])


def _read_only(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stored vectors are, and one kind of array is all that is compiled for."""
    if matrix.flags.writeable:
        matrix = matrix.view()
        matrix.flags.writeable = False
    return matrix


_NOTHING = np.zeros(0, np.float32)
