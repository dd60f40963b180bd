"""BM25Leg: term frequencies weighted by the statistics of the snapshot's live passages.

Imports storage's readers and the inverted search. Source: Robertson and Zaragoza, The Probabilistic
Relevance Framework (2009), in Lucene's variant:
idf = ln(1 + (N - df + 0.5) / (df + 0.5)), never negative, and tf / (tf + k1 (1 - b + b length / average)) without a factor
k1 + 1. In the blend the sum is divided by what no passage can reach, sum of count * idf over the query's known terms: a
constant of the query, so that its order stays and a weight means the same for every query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3search.records import Candidates, frozen
from m3search.retrieval.inverted import score_inverted, search_inverted
from m3search.retrieval.terms import NO_TOKENS, Terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.storage import Segment, Snapshot


class BM25Leg:
    """Score = BM25 divided by the query's upper bound, in [0, 1), in float64, by ascending term."""

    name = "bm25"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages that hold a term; what holds none scores 0."""
        statistics = TermStatistics.of(query, snapshot)
        found = search_inverted("bm25", snapshot, statistics.terms(snapshot), allowed, depth)
        top = statistics.upper_bound or 1.0
        return Candidates(
            found.docids, found.scores / top, found.bound / top, postings=found.postings, exact=found.exact
        )

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores f64[n], divided like those of `search`."""
        statistics = TermStatistics.of(query, snapshot)
        return statistics.raw(snapshot, docids) / (statistics.upper_bound or 1.0)

    def raw(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """BM25 as the literature gives it, f64[n], without the division."""
        return TermStatistics.of(query, snapshot).raw(snapshot, docids)


@frozen
class TermStatistics:
    """What a query's terms weigh in a snapshot.

    Attributes:
        numbers: i64[segments, q], the terms' numbers in each, -1 where it lacks one.
        weights: f64[q], count in the query times idf; 0 for a term that no live passage has.
        average: mean number of terms in a live passage.
        k1: saturation of the term frequency.
        b: how much the length counts, 0 to 1.
    """

    numbers: NDArray[np.int64]
    weights: NDArray[np.float64]
    average: float
    k1: float
    b: float

    @classmethod
    def of(cls, query: Query, snapshot: Snapshot) -> TermStatistics:
        """Counted once for a query and a snapshot: a leg proposes, completes and may be asked again."""
        if query.statistics is None:
            return cls._counted(query, snapshot)
        statistics = query.statistics.get(snapshot)
        if statistics is None:
            statistics = query.statistics[snapshot] = cls._counted(query, snapshot)
        return statistics

    @classmethod
    def _counted(cls, query: Query, snapshot: Snapshot) -> TermStatistics:
        """Document frequencies over all segments, the dead left out."""
        from m3search.retrieval.term_counts import counted

        numbers, frequencies = counted(snapshot, query.terms)
        idf = np.log(1 + (snapshot.passages - frequencies + 0.5) / (frequencies + 0.5))
        weights = np.where(frequencies > 0, query.term_counts * idf, 0.0)
        settings = snapshot.manifest.config.bm25
        assert settings is not None
        average = snapshot.bm25_length / snapshot.passages if snapshot.passages else 0.0
        return cls(numbers, weights, average, settings["k1"], settings["b"])

    @property
    def upper_bound(self) -> float:
        """What no passage can reach."""
        return float(self.weights.sum())

    def terms(self, snapshot: Snapshot) -> Terms:
        """As the loops take them."""
        average = self.average or 1.0
        changes = np.array([self.average / (_mean_length(segment) or 1.0) for segment in snapshot.segments])
        return Terms(self.weights, NO_TOKENS, self.numbers, changes, self.k1, self.b, average)

    def raw(self, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Undivided scores f64[n]."""
        return score_inverted("bm25", snapshot, self.terms(snapshot), docids)


def _mean_length(segment: Segment) -> float:
    """What the segment's bounds were written with; its deleted passages count."""
    return segment.info.statistics["bm25_length"] / segment.info.passages if segment.info.passages else 0.0
