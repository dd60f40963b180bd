"""Selection: what a filter allows, as one packed bitmap of passages for each segment.

Imports filtering, columns and snapshot. Invariant: what is allowed is alive, and a passage is allowed as its document is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.filtering import And, Bound, Exists, Filter, Ids, Interval, Not, Or, Values, bind
from m3search.storage.bitmaps import complement, everything, packed_rows, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.segment import Segment
    from m3search.storage.snapshot import Snapshot

_KEPT = 16
_LEFT_OUT = "; or the field is one of those that are not indexed, because some documents have more than 1,000"


def select(
    snapshot: Snapshot, wanted: Filter | None, identifiers: Sequence[str] | None = None
) -> list[NDArray[np.uint8] | None]:
    """Per segment the packed bitmap of passages that may be found, least significant bit first; None: all.

    Args:
        snapshot: what is searched.
        wanted: only documents of which this is true; None: every living one.
        identifiers: only these documents; None: every living one.

    Raises:
        FilterError: the filter does not fit the fields of the index.
    """
    named = snapshot.allowed(identifiers)
    if wanted is None:
        return named
    key = str(wanted)  # in Python, 1 and True would be the same key
    found = snapshot.selections.get(key)
    if found is None:
        found = _selected(snapshot, wanted)
        if len(snapshot.selections) >= _KEPT:
            snapshot.selections.clear()
        snapshot.selections[key] = found
    if identifiers is None:
        return [*found]
    return [mine if theirs is None else mine & theirs for mine, theirs in zip(found, named, strict=True)]


def selected_documents(snapshot: Snapshot, wanted: Filter) -> list[tuple[Segment, NDArray[np.int64]]]:
    """The living documents of which a filter is true: segments, and numbers in them, ascending."""
    found = []
    for segment, packed in zip(snapshot.segments, _documents(snapshot, wanted), strict=True):
        rows = rows_of(packed, segment.info.documents)
        found.append((segment, rows if segment.live is None else rows[segment.live[rows]]))
    return found


def facet_counts(
    snapshot: Snapshot, field: str, documents: Sequence[NDArray[np.uint8] | NDArray[np.int64] | None]
) -> dict[Any, int]:
    """Value of a field -> how many documents have it.

    Args:
        snapshot: what is counted in.
        field: its name.
        documents: per segment the numbers i64[n], or the packed bitmap u8 of its documents; None: all that are alive.
    """
    counts: dict[Any, int] = {}
    for segment, given in zip(snapshot.segments, documents, strict=True):
        column = snapshot.column(segment, field)
        if column is None:
            continue
        if given is None:
            packed = (
                everything(segment.info.documents)
                if segment.live is None
                else np.packbits(segment.live, bitorder="little")
            )
        else:
            packed = given if given.dtype == np.uint8 else packed_rows(given, segment.info.documents)  # type: ignore[assignment, arg-type]
        for value, count in column.counts(packed).items():
            counts[value] = counts.get(value, 0) + count
    return counts


def _selected(snapshot: Snapshot, wanted: Filter) -> list[NDArray[np.uint8]]:
    made: list[NDArray[np.uint8]] = []
    for segment, packed in zip(snapshot.segments, _documents(snapshot, wanted), strict=True):
        if not segment.one_passage_each:
            mask = np.unpackbits(packed, count=segment.info.documents, bitorder="little")
            packed = np.packbits(mask[segment.documents_of], bitorder="little")  # noqa: PLW2901 - of its passages now
        live = segment.packed_live
        made.append(packed if live is None else packed & live)
    return made


def _documents(snapshot: Snapshot, wanted: Filter) -> list[NDArray[np.uint8]]:
    """Per segment the packed bitmap of documents, dead ones too."""
    if not snapshot.documents:  # nothing says which fields there may come to be
        return [np.zeros(-(-segment.info.documents // 8), np.uint8) for segment in snapshot.segments]
    complete = all(snapshot.columns(segment).complete for segment in snapshot.segments)
    bound = bind(wanted, snapshot.types, "" if complete else _LEFT_OUT)
    if not complete:
        _check_complete(snapshot, wanted)
    return [_Evaluation(snapshot, segment).of(bound) for segment in snapshot.segments]


def _check_complete(snapshot: Snapshot, wanted: Filter) -> None:
    """Raise for a field that a segment may have without an index."""
    if isinstance(wanted, And | Or):
        for part in wanted.parts:
            _check_complete(snapshot, part)
    elif isinstance(wanted, Not):
        _check_complete(snapshot, wanted.part)
    elif not isinstance(wanted, Ids):
        for columns in map(snapshot.columns, snapshot.segments):
            if not columns.complete and wanted.field not in columns:
                raise wanted.place.error(
                    f"the field {wanted.field!r} is not indexed in every document: some have more than 1,000 fields, or "
                    f"very long names of them"
                )


class _Evaluation:
    """A bound filter over one segment."""

    def __init__(self, snapshot: Snapshot, segment: Segment) -> None:
        self._snapshot = snapshot
        self._segment = segment
        self._count = segment.info.documents

    def of(self, node: Bound) -> NDArray[np.uint8]:
        """Packed bits of documents, not to be written to."""
        if isinstance(node, And):
            return self._and(node.parts)  # type: ignore[arg-type]
        if isinstance(node, Or):
            return reduce(np.bitwise_or, map(self.of, node.parts), self._nothing())  # type: ignore[arg-type]
        if isinstance(node, Not):
            return complement(self.of(node.part), self._count)  # type: ignore[arg-type]
        if isinstance(node, Ids):
            return self._ids(node.ids)
        if isinstance(node, Values | Interval | Exists):
            return self._clause(node)
        return self._nothing()

    def _and(self, parts: Sequence[Bound]) -> NDArray[np.uint8]:
        if not parts:
            return everything(self._count)
        found = self.of(parts[0])
        for part in parts[1:]:
            if not found.any():
                break
            found = found & self.of(part)
        return found

    def _clause(self, node: Values | Interval | Exists) -> NDArray[np.uint8]:
        columns = self._segment.columns
        column = columns.get(node.field) if columns is not None else None
        if column is None:
            return self._nothing()
        if isinstance(node, Values):
            return column.with_values(node.values)
        if isinstance(node, Interval):
            return column.within(node.low, node.high, with_low=node.with_low, with_high=node.with_high)
        return column.present()

    def _ids(self, identifiers: Sequence[str]) -> NDArray[np.uint8]:
        rows = [
            found[1]
            for found in self._snapshot.find_all(identifiers)
            if found is not None and found[0] is self._segment
        ]
        return packed_rows(np.array(rows, np.int64), self._count)

    def _nothing(self) -> NDArray[np.uint8]:
        return np.zeros(-(-self._count // 8), np.uint8)
