"""Joint completion: the candidates of several legs, narrowed to those that can be in the answer, with all their scores.

Imports storage's readers and the compiled loops, the latter on use. ColBERT has no part in it: its scores are the dearest, and
a loop of their own makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.retrieval.bm25 import TermStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval.query import Query
    from m3search.storage import Snapshot

FEW = {"lexical": 100, "bm25": 100, "dense": 16}
"""The legs that can be completed together, the cheapest first: so many passages are scored sooner than any is dropped."""

_NO_WEIGHTS = np.empty(0)
_NO_NUMBERS = np.empty((0, 0), np.int64)
_NOTHING = np.empty(0, np.int64), np.empty((0, 0))


class Claim(NamedTuple):
    """What a leg says of its score of a passage.

    Attributes:
        most: of one that it did not return; inf where it says nothing.
        least: of any; -inf where it says nothing.
        slack: how far the score of one that it returned may be off.
        exact: whether it is not off at all.
        silent: whether all that it did not return score `least`.
    """

    most: float
    least: float
    slack: float
    exact: bool
    silent: bool


class Joint(NamedTuple):
    """What is left of the candidates.

    Attributes:
        candidates: how many there were.
        docids: i64[n], ascending.
        parents: i64[n], their documents' first passages, or themselves where these are not collapsed.
        scores: f64[legs, n], exact, in the order of the weights.
        blends: f64[n].
        best: i64[b], positions of the best passages of the best documents, as `Pool.best` gives them.
        completed: for each leg, how many scores were computed.
    """

    candidates: int
    docids: NDArray[np.int64]
    parents: NDArray[np.int64]
    scores: NDArray[np.float64]
    blends: NDArray[np.float64]
    best: NDArray[np.int64]
    completed: Sequence[int]


def complete_jointly(
    query: Query,
    snapshot: Snapshot,
    proposals: Mapping[str, Candidates],
    claims: Mapping[str, Claim],
    weights: Mapping[str, float],
    documents: int,
    earlier: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
    *,
    collapse: bool = True,
) -> Joint:
    """Narrow and complete; a blend is sum(weight * score) / sum(weight), added up in the order of `weights`.

    Args:
        query: what is asked.
        snapshot: where the passages are.
        proposals: by leg.
        claims: by leg.
        weights: of the blend, of these legs.
        documents: how many are wanted.
        earlier: docids i64[e] with their scores f64[legs, e], in the order of `weights`.
        collapse: whether a document counts once, as its best passage.
    """
    from m3search.retrieval import joint_loop

    lists = [proposals[leg] for leg in weights]
    proposed = np.concatenate([found.docids for found in lists])
    docids, places = np.empty_like(proposed), np.empty_like(proposed)
    docids = docids[: joint_loop.unite(proposed, docids, places)]
    count = len(docids)
    tokens, token_weights, term_numbers, term_weights = query.tokens, _NO_WEIGHTS, _NO_NUMBERS, _NO_WEIGHTS
    lexical = bm25 = joint_loop.NOWHERE
    k1, b, average, divisor = 0.0, 0.0, 1.0, 1.0
    if "lexical" in weights:
        lexical, token_weights = _addresses("lexical", snapshot), query.token_weights.astype(np.float64)
    if "bm25" in weights:
        statistics = TermStatistics.of(query, snapshot)
        bm25, term_numbers, term_weights = _addresses("bm25", snapshot), statistics.numbers, statistics.weights
        k1, b, average = statistics.k1, statistics.b, statistics.average or 1.0
        divisor = statistics.upper_bound or 1.0
    completed = np.zeros(len(lists), np.int64)
    known, known_scores = earlier or _NOTHING
    docids, parents, scores, blends, best = joint_loop.complete_candidates(
        docids,
        snapshot.parents(docids) if collapse else docids,
        places,
        np.concatenate([found.scores for found in lists]),
        np.array([0, *(len(found) for found in lists)]).cumsum(),
        np.array([claims[leg] for leg in weights], np.float64),
        np.array([joint_loop.KINDS[leg] for leg in weights]),
        np.array([*weights.values()]),
        sum(weights.values()),
        documents,
        known,
        known_scores,
        _segments(snapshot),
        _NO_WEIGHTS if query.wide is None else query.wide,
        lexical,
        tokens,
        token_weights,
        bm25,
        term_numbers,
        term_weights,
        k1,
        b,
        average,
        divisor,
        completed,
    )
    return Joint(count, docids, parents, scores, blends, best, completed.tolist())


def _addresses(field: str, snapshot: Snapshot) -> NDArray[np.int64]:
    from m3search.retrieval.inverted import addresses

    return addresses(field, snapshot)


def _segments(snapshot: Snapshot) -> NDArray[np.int64]:
    """i64[s, 3], as the loop takes them."""
    rows = snapshot.addresses.get("segments")
    if rows is None:
        vectors = [0 if one.vectors is None else one.vectors.ctypes.data for one in snapshot.segments]
        rows = np.array(
            [(one.base, one.info.passages, at) for one, at in zip(snapshot.segments, vectors, strict=True)], np.int64
        ).reshape(-1, 3)
        snapshot.addresses["segments"] = rows
    return rows
