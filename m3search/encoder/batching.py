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


def token_batches(lengths: NDArray[np.int64], budget: int, *, padded: bool = True) -> Iterator[NDArray[np.int64]]:
    """Batches of texts of similar length, longest first, so that a lack of memory shows at once.

    Args:
        lengths: i64[n], tokens of each text.
        budget: the most tokens of a batch; a longer text is a batch of its own.
        padded: whether padding takes part: a batch is then as wide as its longest text.

    Yields:
        i64[b], positions in `lengths`.
    """
    yield from _cut(np.argsort(-lengths, kind="stable"), lengths, budget, padded=padded)


def parts_of(
    batch: NDArray[np.int64], lengths: NDArray[np.int64], budget: int, *, padded: bool
) -> Iterator[NDArray[np.int64]]:
    """A batch in parts that keep to a smaller budget, in the batch's order.

    Args:
        batch: i64[b], positions in `lengths`, longest first.
        lengths: i64[n], tokens of each text.
        budget: as for `token_batches`.
        padded: as for `token_batches`.
    """
    yield from _cut(batch, lengths, budget, padded=padded)


def _cut(
    order: NDArray[np.int64], lengths: NDArray[np.int64], budget: int, *, padded: bool
) -> Iterator[NDArray[np.int64]]:
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        if padded:
            # sorted by falling length: the first text of a batch sets its width
            rows = max(1, budget // max(1, int(lengths[order[start]])))
        else:
            before = int(ends[start - 1]) if start else 0
            rows = max(1, int(np.searchsorted(ends, before + budget, side="right")) - start)
        yield order[start : start + rows]
        start += rows
