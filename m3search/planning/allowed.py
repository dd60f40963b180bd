"""Allowed: which documents a search may find: those that the user has named by their ids, and those of which a filter is true.

Imports filtering and storage. Invariant: what is wrong with ids or a filter is said before anything is searched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import QueryError
from m3search.filtering import And, Filter, FilterLike, Ids, Kind, as_filter
from m3search.filtering.place import near, shown
from m3search.planning.ranking import rank
from m3search.storage import facet_counts, select, selected_documents

if TYPE_CHECKING:
    from m3search.planning.preparation import Prepared
    from m3search.retrieval import Allowed
    from m3search.storage import Snapshot


def as_id(value: str | int) -> str:
    """An id as it is stored: numbers became strings when they were indexed."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise QueryError(f"{value!r} is no id: give a string, or the number that it was indexed by")


def chosen(ids: Iterable[str | int] | None) -> list[str] | None:
    """Ids as they are stored; None stays None."""
    if isinstance(ids, str) or not (ids is None or isinstance(ids, Iterable)):
        raise QueryError(f"ids is {ids!r}: give a list of ids")
    return None if ids is None else [as_id(value) for value in ids]


def allowed_by(
    snapshot: Snapshot, ids: Iterable[str | int] | None, given: FilterLike = None
) -> tuple[Allowed, int | None]:
    """What may be found, and how many passages that is where the user has named documents."""
    wanted, named = as_filter(given), chosen(ids)
    allowed = select(snapshot, wanted, named)
    if wanted is None and named is None:
        return allowed, None
    return allowed, sum(int(np.bitwise_count(bitmap).sum()) for bitmap in allowed if bitmap is not None)


def facets(
    snapshot: Snapshot,
    field: str,
    limit: int | None,
    ids: Iterable[str | int] | None = None,
    given: FilterLike = None,
    query: tuple[Prepared, Allowed] | None = None,
) -> dict[Any, int]:
    """The values of a field that most documents have, and how many these are, by falling number and then by value.

    Args:
        snapshot: what is counted in.
        field: its name.
        limit: how many values; None: all.
        ids: only these documents.
        given: only documents of which this filter is true.
        query: only the documents that its plan finds, among those that it may find; then `ids` and `given` are in it.

    Raises:
        QueryError: there is no such field, its values are not indexed, or a number that is none.
        FilterError: see `select`.
    """
    if not (limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1)):
        raise QueryError(f"limit is {limit!r}: give a number of values from 1, or None for all")
    if not snapshot.documents:
        return {}
    found = snapshot.types.get(field)
    if found is None:
        raise QueryError(f"no document has a field {shown(field)}: {near(field, snapshot.types, 'fields')}")
    if found.partly or found.kind in {Kind.OBJECT, Kind.MIXED}:
        raise QueryError(f"the field {shown(field)} has values that are not indexed, so they cannot be counted")
    documents: list[Any] = [None] * len(snapshot.segments)
    if query is not None:
        prepared, allowed = query
        ranking = rank(prepared.query, snapshot, allowed, prepared.plan)
        owners, numbers = ranking.found.owners, ranking.found.numbers
        documents = [numbers[owners == place].astype(np.int64) for place in range(len(snapshot.segments))]
    else:
        named, wanted = chosen(ids), as_filter(given)
        parts: list[Filter] = [] if wanted is None else [wanted]
        parts += [] if named is None else [Ids(tuple(named))]
        if parts:
            documents = [rows for _, rows in selected_documents(snapshot, And(tuple(parts)))]
    counts = facet_counts(snapshot, field, documents)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:limit])
