"""Products: inner products of a query with stored rows, in float64, in a compiled loop.

Imports numba. Invariant: the one routine that makes a dense score; a row's product is summed in an order that its length alone
decides, so it is the same to the last bit in any company, whoever proposed the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from m3search.retrieval.compiling import borrowing
from m3search.retrieval.intrinsics import prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINE = 16  # numbers of a cache line
_TOGETHER = 4  # rows


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"}, _nrt=False)  # sums in lanes: one order, but the compiler's
def _product(vector: NDArray[np.float64], row: NDArray[np.float32]) -> float:
    total = 0.0
    for place in range(len(vector)):
        total += vector[place] * row[place]
    return total


@borrowing
def score_rows(
    vector: NDArray[np.float64],
    matrix: NDArray[np.float32],
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    ordered: bool,
) -> None:
    """The products of some rows.

    Args:
        vector: f64[dim].
        matrix: f32[n, dim], read-only.
        rows: i64[m], within the matrix; put in the order of the scores if that is asked for.
        scores: f64[m], is filled.
        ordered: whether to put the rows in order by (-score, row), which takes m * m / 4 steps.
    """
    count, dim = len(rows), matrix.shape[1]
    numbers = matrix.reshape(-1)
    for first in range(0, count, _TOGETHER):
        # rows lie anywhere in the file: what is asked for together arrives together
        last = min(first + _TOGETHER, count)
        for number in range(first, last):
            for line in range(0, dim, _LINE):
                prefetch(numbers, rows[number] * dim + line)
        for number in range(first, last):
            row = rows[number]
            score = _product(vector, matrix[row, :])
            place = number
            if ordered:
                while place > 0 and (
                    scores[place - 1] < score or (scores[place - 1] == score and rows[place - 1] > row)
                ):
                    scores[place], rows[place] = scores[place - 1], rows[place - 1]
                    place -= 1
            scores[place], rows[place] = score, row
