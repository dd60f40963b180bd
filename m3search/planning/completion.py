"""Completion: every leg's exact score of every candidate.

Imports retrieval. Invariant: the scores that a user sees come from the legs' `complete`, or from a leg that vouches that it
gave the same; a passage's row depends on nothing but its stored values and the query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search import retrieval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval import Query
    from m3search.storage import Snapshot


class Known(NamedTuple):
    """Exact scores of a leg that are there already.

    Attributes:
        leg: its name.
        positions: i64[m], distinct, of passages in the list that is completed.
        scores: f64[m], theirs.
    """

    leg: str
    positions: NDArray[np.int64]
    scores: NDArray[np.float64]


def complete(
    query: Query,
    snapshot: Snapshot,
    docids: NDArray[np.int64],
    legs: Iterable[str],
    known: Iterable[Known] = (),
) -> dict[str, NDArray[np.float64]]:
    """Leg -> exact scores f64[n] of these passages.

    Args:
        query: what is asked.
        snapshot: where the passages are.
        docids: i64[n].
        legs: whose scores are wanted.
        known: what need not be computed again.
    """
    return {leg: _scores(leg, query, snapshot, docids, [some for some in known if some.leg == leg]) for leg in legs}


def _scores(
    leg: str, query: Query, snapshot: Snapshot, docids: NDArray[np.int64], known: Sequence[Known]
) -> NDArray[np.float64]:
    scores = np.empty(len(docids))
    if len(known) == 1 and len(known[0].positions) == len(docids):
        scores[known[0].positions] = known[0].scores
        return scores
    missing = np.ones(len(docids), bool)
    for _, positions, values in known:
        scores[positions] = values
        missing[positions] = False
    if missing.any():
        scores[missing] = retrieval.ALL[leg].complete(query, snapshot, docids[missing])
    return scores
