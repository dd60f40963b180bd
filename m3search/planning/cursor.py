"""Cursor: an answer page by page, pinned to the generation that it was begun on.

Imports the ranking and storage's snapshot. Invariant: no page repeats a document of an earlier one, and as long as the pages
are exact none skips one, whatever is written to the index meanwhile. The rerank set is that of the first page.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Self

from m3search.errors import ClosedError
from m3search.planning.answer import page
from m3search.planning.plan import LARGEST_K, Strategy
from m3search.planning.ranking import rank
from m3search.records import Hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m3search.planning.explanation import Spelling
    from m3search.planning.preparation import Prepared
    from m3search.planning.ranking import Ranking
    from m3search.retrieval import Allowed
    from m3search.storage import Snapshot

_AHEAD = 4  # pages that are looked for at once from the second on, and more for later ones


class Cursor:
    """Pages of hits, best first; an iterator, and a context manager that lets the generation go."""

    def __init__(
        self, prepared: Prepared, snapshot: Snapshot, allowed: Allowed, *, explain: bool, spelling: Spelling | None
    ) -> None:
        """Takes a query that is ready; `Index.cursor` makes one."""
        self._prepared = prepared
        self._allowed = allowed
        self._explain = explain
        self._spelling = spelling
        self._seen: set[str | int] = set()  # ids of documents, or docids of passages
        self._before = prepared.plan.offset
        self._ranking: Ranking | None = None
        self._ready: list[int] = []
        self._ended = prepared.query is None and prepared.plan.strategy is not Strategy.BROWSE
        self._snapshot = snapshot.acquire()
        self._let_go = weakref.finalize(self, snapshot.release)

    @property
    def generation(self) -> int:
        """Of the index, that all pages come from."""
        return self._snapshot.manifest.generation

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Hits:
        """The next page.

        Raises:
            StopIteration: there is none.
            ClosedError: the cursor was closed.
        """
        if not self._let_go.alive:
            raise ClosedError("this cursor is closed: make a new one")
        started = time.perf_counter()
        k = self._prepared.plan.k
        if len(self._ready) < k and not self._ended:
            self._look(k)
        if not self._ready:
            raise StopIteration
        assert self._ranking is not None
        places, self._ready = self._ready[:k], self._ready[k:]
        self._seen.update(self._names(places))
        hits = page(
            self._ranking, self._snapshot, places, self._before, started, self._prepared, self._spelling,
            explain=self._explain,
        )  # fmt: skip
        self._before += len(places)
        return hits

    def _look(self, k: int) -> None:
        """Find documents that were not shown, at least k of them if there are so many."""
        plan = self._prepared.plan
        if self._ranking is None:
            self._ranking = rank(self._prepared.query, self._snapshot, self._allowed, plan)
            skipped = min(plan.offset, len(self._ranking))
            self._seen.update(self._names(range(skipped)))
        else:  # what was shown is among the best so many, or makes room for others
            ahead = min(max(_AHEAD * k, self._before), LARGEST_K - self._before - k)
            plan = plan.at(self._before + ahead)
            self._ranking = rank(self._prepared.query, self._snapshot, self._allowed, plan)
        self._ended = len(self._ranking) < plan.wanted
        every = range(len(self._ranking))
        self._ready = [at for at, name in zip(every, self._names(every), strict=True) if name not in self._seen]

    def _names(self, places: Sequence[int]) -> list[str] | list[int]:
        """What tells the hits at these places from all others."""
        assert self._ranking is not None
        if self._prepared.plan.collapse:
            return [self._ranking.found.ids[at] for at in places]
        return [int(self._ranking.passages[at]) for at in places]

    def close(self) -> None:
        """Let the generation go; pages that are held can be read on."""
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
