"""BM25Leg: term frequencies weighted by the statistics of the snapshot's live passages.

Imports storage's readers. Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), in Lucene's variant:
idf = ln(1 + (N - df + 0.5) / (df + 0.5)), never negative, and tf / (tf + k1 (1 - b + b length / average)) without a factor
k1 + 1. In the blend the sum is divided by what no passage can reach, sum of count * idf over the query's known terms: a
constant of the query, so that its order stays and a weight means the same for every query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.term_at_a_time import complete_terms, search_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.query import Query
    from m3search.retrieval.term_at_a_time import Products
    from m3search.storage import Segment, Snapshot


class BM25Leg:
    """Score = BM25 divided by the query's upper bound, in [0, 1), in float64, by ascending term."""

    name = "bm25"

    def search(self, query: Query, snapshot: Snapshot, allowed: Allowed, depth: int) -> Candidates:
        """The best `depth` passages that hold a term; what holds none scores 0."""
        statistics = TermStatistics.of(query, snapshot)
        parts = [
            search_terms(segment, self.name, numbers, statistics.products(segment), bitmap, depth)
            for segment, numbers, bitmap in zip(snapshot.segments, statistics.numbers, allowed, strict=True)
        ]
        merged = Candidates.merge(parts, depth)
        top = statistics.upper_bound or 1.0
        return Candidates(merged.docids, merged.scores / top, merged.bound / top, postings=merged.postings)

    def complete(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores f64[n], divided like those of `search`."""
        statistics = TermStatistics.of(query, snapshot)
        return statistics.raw(snapshot, docids) / (statistics.upper_bound or 1.0)

    def raw(self, query: Query, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """BM25 as the literature gives it, f64[n], without the division."""
        return TermStatistics.of(query, snapshot).raw(snapshot, docids)


@dataclass(frozen=True, slots=True, eq=False)
class TermStatistics:
    """What a query's terms weigh in a snapshot.

    Attributes:
        numbers: per segment the terms' numbers i64[q], -1 where it lacks one.
        weights: f64[q], count in the query times idf; 0 for a term that no live passage has.
        average: mean number of terms in a live passage.
        k1: saturation of the term frequency.
        b: how much the length counts, 0 to 1.
    """

    numbers: tuple[NDArray[np.int64], ...]
    weights: NDArray[np.float64]
    average: float
    k1: float
    b: float

    @classmethod
    def of(cls, query: Query, snapshot: Snapshot) -> TermStatistics:
        """Document frequencies over all segments, the dead left out."""
        numbers = tuple(segment.fields["bm25"].numbers(query.terms) for segment in snapshot.segments)
        frequencies = np.zeros(len(query.terms))
        for segment, local in zip(snapshot.segments, numbers, strict=True):
            for term in np.flatnonzero(local >= 0):
                frequencies[term] += _live_frequency(segment, int(local[term]))
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

    def products(self, segment: Segment) -> Products:
        """What a posting of a segment adds to the score."""
        lengths = segment.fields["bm25"].lengths
        assert lengths is not None
        stored = lengths
        average = self.average or 1.0

        def products(terms: NDArray[np.int64], rows: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.float64]:
            frequencies = values.astype(np.float64)
            norms = self.k1 * (1 - self.b + self.b * (stored[rows].astype(np.float64) / average))
            return self.weights[terms] * (frequencies / (frequencies + norms))

        return products

    def raw(self, snapshot: Snapshot, docids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Undivided scores f64[n]."""
        scores = np.zeros(len(docids))
        numbers = {segment.info.uuid: local for segment, local in zip(snapshot.segments, self.numbers, strict=True)}
        for segment, positions, rows in snapshot.split(docids):
            scores[positions] = complete_terms(
                segment, "bm25", numbers[segment.info.uuid], self.products(segment), rows
            )
        return scores


def _live_frequency(segment: Segment, number: int) -> int:
    docids, _ = segment.fields["bm25"].posting(number)
    live = segment.live_passages
    return len(docids) if live is None else int(live[docids].sum())
