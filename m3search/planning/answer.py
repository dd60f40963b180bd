"""Answer: a ranking as hits that are made, and load their documents, when they are looked at.

Imports records and storage's snapshot. Invariant: the snapshot lives as long as one hit that may still read from it.
"""

from __future__ import annotations

import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

from m3search.planning.ranking import rank
from m3search.records import Document, Hit, Hits, LazyHits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m3search.planning.preparation import Prepared
    from m3search.planning.ranking import Ranking
    from m3search.storage import Snapshot


def answer(prepared: Prepared, snapshot: Snapshot, ids: Sequence[str] | None, started: float) -> Hits:
    """Run a prepared query.

    Args:
        prepared: query and plan.
        snapshot: what is searched; the caller holds it.
        ids: only these documents; None: all.
        started: `time.perf_counter` at the user's call, for the statistics.
    """
    if prepared.query is None:
        return Hits([], statistics={"seconds": time.perf_counter() - started})
    ranking = rank(prepared.query, snapshot, snapshot.allowed(ids), prepared.plan)
    hits = LazyHits(ranking.found.ids, _Maker(ranking, snapshot)) if len(ranking) else []
    statistics = {**ranking.statistics, "seconds": time.perf_counter() - started}
    return Hits(hits, str(ranking.guarantee), ranking.bound, ranking.kth_score, statistics)


class _Maker:
    """Makes the hits of a ranking; holds the snapshot until the last hit is gone, and what could make another."""

    def __init__(self, ranking: Ranking, snapshot: Snapshot) -> None:
        self._ranking = ranking
        self._snapshot = snapshot.acquire()
        weakref.finalize(self, snapshot.release)

    def __call__(self, at: int) -> Hit:
        ranking = self._ranking
        segment = self._snapshot.segments[ranking.found.owners[at]]
        start, end = segment.spans[ranking.passages[at] - segment.base].tolist()
        return Hit(
            ranking.found.ids[at],
            float(ranking.scores[at]),
            at + 1,
            ranking.parts_of(at),
            (start, end),
            partial(self.document, at),
        )

    def document(self, at: int) -> Document:
        found = self._ranking.found
        return self._snapshot.document(self._snapshot.segments[found.owners[at]], int(found.numbers[at]))
