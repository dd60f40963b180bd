"""Batches: which texts go through the model together.

Imports numpy only. Invariant: every text is in exactly one batch, a batch of more than one text stays within the
budget, and the plan depends on nothing but the lengths and the budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def token_batches(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Batches of texts of similar length, longest first, so that a lack of memory shows at once.

    Args:
        lengths: i64[n], tokens of each text.
        budget: the most tokens of a batch, padding counted in; a longer text is a batch of its own.

    Yields:
        i64[b], positions in `lengths`.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        # sorted by falling length: the first text of a batch sets its width
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows
