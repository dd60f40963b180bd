"""Terms: a query's terms, as the loops of the inverted legs take them.

Imports numpy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_TOKENS = np.empty(0, np.uint32)
NO_NUMBERS = np.empty((0, 0), np.int64)
_UNCHANGED = np.empty(0)


class Terms(NamedTuple):
    """What is looked for, and what it weighs.

    Attributes:
        weights: f64[q] >= 0.
        tokens: u32[q], ascending; empty: `numbers` says already where the terms stand.
        numbers: i64[s, q], the terms' numbers in each segment, -1 of one that it does not have; empty: `tokens` are looked up.
        changes: f64[s], what a posting adds now lies between this times what was stored, and what was stored; empty: all 1.
        k1: of BM25, and so are the next two.
        b: how much the length counts, 0 to 1.
        average: mean number of terms in a live passage, above 0.
    """

    weights: NDArray[np.float64]
    tokens: NDArray[np.uint32]
    numbers: NDArray[np.int64] = NO_NUMBERS
    changes: NDArray[np.float64] = _UNCHANGED
    k1: float = 0.0
    b: float = 0.0
    average: float = 1.0
