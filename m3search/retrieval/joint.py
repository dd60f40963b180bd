"""Joint completion: the candidates of several legs, narrowed to those that can be in the answer, with all their scores.

Imports storage's readers and the compiled loops, the latter on use. ColBERT has no part in it: its scores are the dearest, and
a loop of their own makes them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.retrieval.bm25 import TermStatistics
from m3search.retrieval.inverted import addresses
from m3search.retrieval.terms import NO_NUMBERS, NO_TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from m3search.records import Candidates
    from m3search.retrieval.query import Query
    from m3search.storage import Segment, Snapshot

FEW = {"lexical": 100, "bm25": 100, "dense": 16}
"""The legs that can be completed together, the cheapest first: so many passages are scored sooner than any is dropped."""

KINDS = {leg: kind for kind, leg in enumerate(FEW)}
"""What the loop calls them."""

_NO_WEIGHTS = np.empty(0)
_NOTHING = np.empty(0, np.int64), np.empty((0, 0))
_NO_PROPOSALS = (np.empty(0, np.int64), np.empty(0)) * len(FEW)


@cache
def _loops() -> Any:  # noqa: ANN401 - a module
    from m3search.retrieval import joint_loop

    return joint_loop


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
    loops = _loops()
    tokens, token_weights, term_numbers, term_weights = NO_TOKENS, _NO_WEIGHTS, NO_NUMBERS, _NO_WEIGHTS
    lexical = bm25 = loops.NOWHERE
    k1, b, average, divisor = 0.0, 0.0, 1.0, 1.0
    if "lexical" in weights:
        lexical, tokens, token_weights = addresses("lexical", snapshot), query.tokens, query.token_weights
    if "bm25" in weights:
        statistics = TermStatistics.of(query, snapshot)
        bm25, term_numbers, term_weights = addresses("bm25", snapshot), statistics.numbers, statistics.weights
        k1, b, average = statistics.k1, statistics.b, statistics.average or 1.0
        divisor = statistics.upper_bound or 1.0
    figures = [sum(weights.values()), k1, b, average, divisor]
    lists: list[NDArray[Any]] = []
    for leg, weight in weights.items():
        figures += (weight, KINDS[leg], *claims[leg])
        lists += (proposals[leg].docids, proposals[leg].scores)
    known, known_scores = earlier or _NOTHING
    candidates, docids, parents, scores, blends, best, completed = loops.complete_candidates(
        *lists,
        *_NO_PROPOSALS[len(lists) :],
        np.array(figures),
        documents,
        known,
        known_scores,
        _segments(snapshot),
        collapse,
        _NO_WEIGHTS if query.wide is None else query.wide,
        lexical,
        tokens,
        token_weights,
        bm25,
        term_numbers,
        term_weights,
    )
    return Joint(candidates, docids, parents, scores, blends, best, completed.tolist())


def _segments(snapshot: Snapshot) -> NDArray[np.int64]:
    """i64[s, 5], as the loop takes them."""
    rows = snapshot.addresses.get("segments")
    if rows is None:
        rows = np.array([_segment(one) for one in snapshot.segments], np.int64).reshape(-1, 5)
        snapshot.addresses["segments"] = rows
    return rows


def _segment(segment: Segment) -> tuple[int, ...]:
    vectors = 0 if segment.vectors is None else segment.vectors.ctypes.data
    owners, starts = 0, 0
    if not segment.one_passage_each:
        owners, starts = segment.documents_of.ctypes.data, segment.passage_ends.ctypes.data
    return segment.base, segment.info.passages, vectors, owners, starts
