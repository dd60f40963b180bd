"""Completion: every leg's exact score of every candidate.

Imports retrieval. Invariant: the one routine that makes scores which a user sees; a passage's row depends on nothing but
its stored values and the query.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from m3search import retrieval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval import Query
    from m3search.storage import Snapshot


def complete(
    query: Query, snapshot: Snapshot, docids: NDArray[np.int64], legs: Iterable[str]
) -> dict[str, NDArray[np.float64]]:
    """Leg -> exact scores f64[n] of these passages."""
    return {leg: retrieval.ALL[leg].complete(query, snapshot, docids) for leg in legs}
