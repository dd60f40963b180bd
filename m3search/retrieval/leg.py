"""Leg: the contract that all four ways of scoring keep, and what a search may find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from m3search.storage import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot

Allowed = Sequence["NDArray[np.uint8] | None"]
"""Per segment a packed bitmap of the passages that may be found (least significant bit first), or None for all."""


def members(snapshot: Snapshot, allowed: Allowed) -> NDArray[np.int64]:
    """The passages that may be found, ascending."""
    rows = [np.empty(0, np.int64)]
    for segment, bitmap in zip(snapshot.segments, allowed, strict=True):
        rows.append(rows_of(bitmap, segment.info.passages) + segment.base)
    return np.concatenate(rows)


class Leg(Protocol):
    """One way of scoring passages.

    Invariant: `search` proposes and bounds, `complete` is the truth. A passage's completed score is a function of its stored
    values and the query alone: no other candidate, segment, batch or thread has a part in it.
    """

    name: str

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` of the allowed passages, with a bound over all the others.

        `Candidates.exact` is set only where every score is, to the last bit, what `complete` gives.
        """
        ...

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The exact scores f64[n] of these passages."""
        ...
