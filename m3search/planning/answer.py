"""Answer: a ranking as hits that load their documents when they are looked at.

Imports records and storage's snapshot. Invariant: the snapshot lives as long as one hit that may still read from it.
"""

from __future__ import annotations

import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

from m3search.planning.ranking import rank
from m3search.records import Document, Hit, Hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m3search.planning.preparation import Prepared
    from m3search.planning.ranking import RankedDocument
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
    loader = _Loader(snapshot.acquire())
    hits = [_hit(found, number, loader) for number, found in enumerate(ranking.documents, start=1)]
    statistics = {**ranking.statistics, "seconds": time.perf_counter() - started}
    return Hits(hits, str(ranking.guarantee), ranking.bound, ranking.kth_score, statistics)


class _Loader:
    """Loads documents for hits; holds their snapshot until the last hit is gone."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        weakref.finalize(self, snapshot.release)

    def load(self, found: RankedDocument) -> Document:
        return self.snapshot.document(found.segment, found.number)


def _hit(found: RankedDocument, number: int, loader: _Loader) -> Hit:
    start, end = found.segment.spans[found.passage - found.segment.base]
    return Hit(found.id, found.score, number, found.parts, (int(start), int(end)), partial(loader.load, found))
