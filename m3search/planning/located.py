"""Located: documents as a user knows them and as storage does, and the order that only ids can give.

Imports records and storage's snapshot. Invariant: the order is (-score, id).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from m3search.records import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import Snapshot

_FEW = 24


@frozen
class Located:
    """Documents of passages.

    Attributes:
        ids: the user's ids.
        owners: i64[n], the places of their segments in the snapshot.
        numbers: i64[n], their numbers in the segments.
    """

    ids: Sequence[str]
    owners: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, snapshot: Snapshot, docids: NDArray[np.int64]) -> Self:
        """The documents of passages i64[n]."""
        if len(snapshot.segments) == 1:
            (segment,) = snapshot.segments
            numbers = segment.documents_at(docids)
            return cls(segment.ids_of(numbers), np.zeros(len(docids), np.int64), numbers)
        if len(docids) <= _FEW:
            return cls._of_few(snapshot, docids)
        ids, numbers = np.empty(len(docids), object), np.empty(len(docids), np.int64)
        for segment, positions, rows in snapshot.split(docids):
            numbers[positions] = documents = segment.documents_at(rows)
            ids[positions] = segment.ids_of(documents)
        return cls(ids.tolist(), snapshot.owners(docids), numbers)

    @classmethod
    def _of_few(cls, snapshot: Snapshot, docids: NDArray[np.int64]) -> Self:
        """The same one by one: to put a few of each segment together takes longer."""
        owners = snapshot.owners(docids)
        ids, numbers = [], []
        for owner, docid in zip(owners.tolist(), docids.tolist(), strict=True):
            segment = snapshot.segments[owner]
            number = docid - segment.base
            if not segment.one_passage_each:
                number = int(segment.documents_of[number])
            numbers.append(number)
            ids.append(segment.id_of(number))
        return cls(ids, owners, np.array(numbers, np.int64))

    def first(self, count: int) -> Located:
        """The first `count` of them."""
        return self if count >= len(self.ids) else Located(self.ids[:count], self.owners[:count], self.numbers[:count])

    def and_then(self, other: Located) -> Located:
        """These documents, then the others."""
        return Located(
            [*self.ids, *other.ids],
            np.concatenate([self.owners, other.owners]),
            np.concatenate([self.numbers, other.numbers]),
        )

    @classmethod
    def ordered(
        cls, snapshot: Snapshot, docids: NDArray[np.int64], scores: NDArray[np.float64], count: int
    ) -> tuple[NDArray[np.intp], Self]:
        """The first `count` by (-score, id): their positions, and their documents.

        Args:
            snapshot: where they are.
            docids: i64[n], a passage of each document.
            scores: f64[n], descending.
            count: how many are wanted.
        """
        differs = scores[1:] != scores[:-1]
        if differs.all():
            return np.arange(min(count, len(docids))), cls.of(snapshot, docids[:count])
        located = cls.of(snapshot, docids)
        order = np.arange(len(docids))
        ends = np.concatenate([[0], np.flatnonzero(differs) + 1, [len(docids)]])
        runs = np.flatnonzero((np.diff(ends) > 1) & (ends[:-1] < count))
        for start, stop in zip(ends[runs].tolist(), ends[runs + 1].tolist(), strict=True):
            order[start:stop] = sorted(range(start, stop), key=located.ids.__getitem__)
        order = order[:count]
        ids = [located.ids[at] for at in order.tolist()]
        return order, cls(ids, located.owners[order], located.numbers[order])
