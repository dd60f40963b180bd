"""Answer: a ranking as hits that are made, and load their documents, when they are looked at.

Imports records and storage's snapshot. Invariant: the snapshot lives as long as one hit that may still read from it.
"""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import QueryError
from m3search.planning.explanation import Explanation, HitExplanation, Spelling, explained
from m3search.planning.plan import Strategy
from m3search.planning.ranking import rank
from m3search.planning.snippets import snippet_of
from m3search.records import Document, Hit, Hits, LazyHits, Snippet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m3search.planning.preparation import Prepared
    from m3search.planning.ranking import Ranking
    from m3search.retrieval import Allowed, Query
    from m3search.storage import Snapshot


def answer(
    prepared: Prepared,
    snapshot: Snapshot,
    allowed: Allowed,
    started: float,
    *,
    explain: bool = False,
    spelling: Spelling | None = None,
) -> Hits:
    """Run a prepared query.

    Args:
        prepared: query and plan.
        snapshot: what is searched; the caller holds it.
        allowed: as legs get it.
        started: `time.perf_counter` at the user's call, for the statistics.
        explain: keep what an explanation needs.
        spelling: how tokens are written, for explanations and snippets; None: as numbers.
    """
    if prepared.query is None and prepared.plan.strategy is not Strategy.BROWSE:
        return Hits([], _statistics={"seconds": time.perf_counter() - started})
    ranking = rank(prepared.query, snapshot, allowed, prepared.plan, prepared.encode_seconds)
    places = range(prepared.plan.offset, min(len(ranking), prepared.plan.wanted))
    return page(ranking, snapshot, places, prepared.plan.offset, started, prepared, spelling, explain=explain)


def page(
    ranking: Ranking,
    snapshot: Snapshot,
    places: Sequence[int],
    before: int,
    started: float,
    prepared: Prepared,
    spelling: Spelling | None,
    *,
    explain: bool,
) -> Hits:
    """Some documents of a ranking as hits.

    Args:
        ranking: what was found.
        snapshot: where.
        places: of the documents in the ranking, best first.
        before: how many better documents were shown before.
        started: see `answer`.
        prepared: what was asked.
        spelling: see `answer`.
        explain: see `answer`.
    """
    hits: Sequence[Hit] = []
    if places:
        maker = _Maker(ranking, snapshot, places, before, prepared, spelling, explain=explain)
        hits = LazyHits([ranking.found.ids[at] for at in places], maker)
    seconds = time.perf_counter() - started

    def statistics() -> dict[str, Any]:
        return {**ranking.statistics, "seconds": seconds}

    explanation = Explanation.of(ranking, seconds) if explain else None
    return Hits(hits, str(ranking.guarantee), ranking.bound, ranking.kth_score, statistics, explanation)


class _Maker:
    """Makes the hits of a ranking; holds the snapshot until the last hit is gone, and what could make another."""

    _snapshot: Snapshot | None = None

    def __init__(
        self,
        ranking: Ranking,
        snapshot: Snapshot,
        places: Sequence[int],
        before: int,
        prepared: Prepared,
        spelling: Spelling | None,
        *,
        explain: bool,
    ) -> None:
        self._ranking = ranking
        self._places = places
        self._before = before
        self._query, self._text = prepared.query, prepared.text
        self._explains = explain
        self._spelling = spelling
        self._snapshot = snapshot.acquire()

    def __del__(self) -> None:
        if self._snapshot is not None:
            self._snapshot.release()

    def __call__(self, number: int) -> Hit:
        ranking, at = self._ranking, self._places[number]
        scores, spans = self._plain
        return Hit(
            ranking.found.ids[at],
            scores[number],
            self._before + number + 1,
            ranking.parts_of(at),
            spans[number],
            partial(self.document, at),
            partial(self.explain, at),
            partial(self.snippet, at),
        )

    @cached_property
    def _plain(self) -> tuple[list[float], list[tuple[int, int]]]:
        """Scores and spans of all hits as plain numbers: fetched together they cost less than those of three hits alone."""
        assert self._snapshot is not None
        places: Any = self._places
        places = slice(places.start, places.stop) if isinstance(places, range) else np.array(places, np.int64)
        docids = self._ranking.passages[places]
        spans = np.empty((len(docids), 2), np.int64)
        for segment, positions, rows in self._snapshot.split(docids):
            spans[positions] = segment.spans[rows]
        return self._ranking.scores[places].tolist(), [(start, end) for start, end in spans.tolist()]

    def document(self, at: int) -> Document:
        assert self._snapshot is not None
        found = self._ranking.found
        return self._snapshot.document(self._snapshot.segments[found.owners[at]], int(found.numbers[at]))

    def snippet(self, at: int, passage: str, start: int) -> Snippet:
        """Of the hit's passage, whose text begins at `start` of the document's."""
        assert self._snapshot is not None
        segment = self._snapshot.segments[self._ranking.found.owners[at]]
        row = int(self._ranking.passages[at]) - segment.base
        weights = self._ranking.weights_of(at)
        return snippet_of(passage, start, self._query, weights, self._snapshot, segment, row, self._spelling)

    def explain(self, at: int) -> HitExplanation:
        if not self._explains:
            raise QueryError("this hit was not asked to explain itself: search with explain=True")
        assert self._snapshot is not None
        query: Query | None = self._query
        return explained(self._ranking, at, self._snapshot, query, self._text, self.document(at), self._spelling)
