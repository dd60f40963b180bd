"""Matches: which tokens of a query met which of a passage, and what each added to the score.

Imports storage's readers and the legs' statistics. Made for people, one passage at a time, in plain NumPy from the stored
values: not the loops' arithmetic, but the same sums. Invariant: the products of a leg's matches add up to its score, to 1e-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.retrieval.bm25 import TermStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.query import Query
    from m3search.storage import Segment, Snapshot


class Match(NamedTuple):
    """A token that query and passage share.

    Attributes:
        token: a token id of the lexical leg, a term of BM25.
        query_weight: what the query gives it.
        document_weight: what the passage gives it.
    """

    token: int | str
    query_weight: float
    document_weight: float

    @property
    def product(self) -> float:
        """What it adds to the leg's score."""
        return self.query_weight * self.document_weight


class BestToken(NamedTuple):
    """The token of a passage that a query's token is nearest to.

    Attributes:
        query_token: place among the query's token vectors.
        document_token: place among the passage's.
        similarity: inner product of the stored vector and the query's.
    """

    query_token: int
    document_token: int
    similarity: float


def lexical_matches(query: Query, segment: Segment, row: int) -> list[Match]:
    """Shared tokens of the lexical leg, the largest product first."""
    field = segment.fields["lexical"]
    _, numbers, weights = field.gather(np.array([row]))
    own = dict(zip(field.terms[numbers].tolist(), weights.astype(np.float64).tolist(), strict=True))
    asked = zip(query.tokens.tolist(), query.token_weights.tolist(), strict=True)
    return _sorted([Match(token, weight, own[token]) for token, weight in asked if token in own])


def bm25_matches(query: Query, snapshot: Snapshot, segment: Segment, row: int) -> list[Match]:
    """Shared terms of BM25, the largest product first.

    A query's weight is count times idf, divided like the leg's score; a passage's is the saturated term frequency.
    """
    statistics, field = TermStatistics.of(query, snapshot), segment.fields["bm25"]
    assert field.lengths is not None
    _, numbers, counts = field.gather(np.array([row]))
    frequencies = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    share = 1 - statistics.b + statistics.b * float(field.lengths[row]) / (statistics.average or 1.0)
    place = [one.info.uuid for one in snapshot.segments].index(segment.info.uuid)
    top = statistics.upper_bound or 1.0
    made = []
    for term, number, weight in zip(
        query.terms, statistics.numbers[place].tolist(), statistics.weights.tolist(), strict=True
    ):
        if number in frequencies and weight > 0:
            frequency = float(frequencies[number])
            made.append(Match(term, weight / top, frequency / (frequency + statistics.k1 * share)))
    return _sorted(made)


def best_tokens(query: Query, segment: Segment, row: int) -> list[BestToken]:
    """For each token vector of the query the passage's nearest, in the query's order; none where either has no tokens."""
    if query.colbert is None or not len(query.colbert) or segment.tokens is None:
        return []
    stored: NDArray[np.float64] = segment.tokens.decode(row).astype(np.float64)
    if not len(stored):
        return []
    products = query.colbert.astype(np.float64) @ stored.T
    nearest = products.argmax(axis=1)
    return [BestToken(place, int(best), float(products[place, best])) for place, best in enumerate(nearest.tolist())]


def _sorted(matches: list[Match]) -> list[Match]:
    return sorted(matches, key=lambda match: (-match.product, str(match.token)))
