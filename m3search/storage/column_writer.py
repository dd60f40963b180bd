"""ColumnWriter: collects the metadata of a segment's documents, and becomes the segment's columns.

Imports filtering, dictionaries and bitmaps. Invariant: what it writes follows from the documents' metadata alone, so that a
merged segment has the columns that a build would have written.

A field of n documents with d distinct values is written as

- "bitmaps": a Roaring bitmap for each value of booleans, and of strings where there are no more than `MOST_BITMAPS`;
- else, where no document has two values, "ordinals": one, two or four bytes a document;
- else "starts" and "documents": for each value the documents that have it, four bytes each.

So it takes four bytes a value at most, and the dictionary with 8 to 16 bytes more for each distinct value. Two more bitmaps
say which documents have the field, and which have it in a form that is not indexed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.filtering import LONGEST_LIST, LONGEST_VALUE, FieldType, Kind, flattened, typed_values
from m3search.filtering.dates import instant
from m3search.storage.bitmaps import roaring
from m3search.storage.codec import ends_of
from m3search.storage.dictionaries import dictionary_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.columns import Column

MOST_FIELDS = 1000
"""Fields of a segment that are indexed; of others a filter says so."""

MOST_BITMAPS = 1024
LONGEST_NAME = 256
"""Bytes of a field's name, in UTF-8, dots included."""


PARTS = ("bitmaps", "bitmap_ends", "bytes", "ends", "instants", "numbers", "rests", "ordinals", "starts", "documents")
"""Arrays that a column may have; a table names them by their place here, so that new ones go to the end."""

DTYPES = ("|u1", "<u2", "<u4", "<i8", "<f8")
"""Types of their values, likewise."""

_ALIGNMENT = 8


class Columns(NamedTuple):
    """A segment's columns.

    Attributes:
        types: of the fields, in order of their names.
        complete: whether all fields of the documents are among them.
        arrays: "meta" u8[n], the columns' arrays one after the other, and "meta_table" i64[arrays, 5], of each of these the
            field's number, the place of its name in `PARTS` and of its type in `DTYPES`, its first byte, and how many values.
    """

    types: Mapping[str, FieldType]
    complete: bool
    arrays: Mapping[str, NDArray[Any]]


class _Field:
    """What is known of a field so far; codes number its values as they come."""

    __slots__ = ("codes", "documents", "kind", "present", "unindexed", "values")

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.values: dict[Any, int] = {}
        self.documents = array("I")
        self.codes = array("I")
        self.present = array("I")
        self.unindexed = array("I")

    def add(self, document: int, kind: Kind, values: list[Any]) -> None:
        self.present.append(document)
        if self.kind is None and kind is not Kind.OBJECT:
            self.kind = kind
        if kind is not self.kind or len(values) > LONGEST_LIST:
            self.unindexed.append(document)
            return
        known = self.values
        for value in values:
            if kind is Kind.STRING and len(value) * 4 > LONGEST_VALUE and len(value.encode()) > LONGEST_VALUE:
                continue
            self.documents.append(document)
            self.codes.append(known.setdefault(value, len(known)))


class ColumnWriter:
    """Columns on their way: `append` documents, or take those of another segment, then `finish`."""

    def __init__(self) -> None:
        self._fields: dict[str, _Field] = {}
        self._documents = 0
        self._values = 0
        self._complete = True

    def append(self, metadata: Mapping[str, Any]) -> None:
        """The next document."""
        for name, value in flattened(metadata):
            kind, values = typed_values(value)
            if kind is None:
                continue
            field = self._field(name)
            if field is None:
                continue
            if field.present and field.present[-1] == self._documents:  # the name was there, once with a dot in it
                field.unindexed.append(self._documents)
            else:
                field.add(self._documents, kind, values)
                self._values += len(values) + 1
        self._documents += 1

    def append_stored(self, columns: Mapping[str, Column], documents: NDArray[np.int64], *, complete: bool) -> None:
        """Documents of another segment, as its columns have them.

        Args:
            columns: all of that segment.
            documents: their numbers there, ascending.
            complete: whether that segment's fields are all indexed.
        """
        places = np.full(int(documents[-1]) + 1 if len(documents) else 0, -1, np.int64)
        places[documents] = self._documents + np.arange(len(documents))
        for name, column in columns.items():
            present, unindexed = _placed(column.present_rows(), places), _placed(column.unindexed_rows(), places)
            field = self._field(name) if len(present) else None
            if field is None:
                continue
            field.present.frombytes(present.astype(np.uint32).tobytes())
            kind = Kind.STRING if column.kind is Kind.DATE else column.kind
            if field.kind is None and kind is not Kind.OBJECT:
                field.kind = kind
            if kind is not field.kind:
                field.unindexed.frombytes(present.astype(np.uint32).tobytes())
                continue
            field.unindexed.frombytes(unindexed.astype(np.uint32).tobytes())
            rows, ordinals = column.pairs()
            inside = rows < len(places)
            rows, ordinals = places[rows[inside]], ordinals[inside]
            rows, ordinals = rows[rows >= 0], ordinals[rows >= 0]
            values = column.dictionary.values()
            codes, used = np.zeros(len(values), np.uint32), np.zeros(len(values), bool)
            used[ordinals] = True
            for ordinal in np.flatnonzero(used).tolist():
                codes[ordinal] = field.values.setdefault(values[ordinal], len(field.values))
            field.documents.frombytes(rows.astype(np.uint32).tobytes())
            field.codes.frombytes(codes[ordinals].tobytes())
            self._values += len(rows) + len(present)
        self._documents += len(documents)
        self._complete &= complete

    @property
    def size(self) -> int:
        """Bytes that the columns will take at most, but for their dictionaries."""
        return 4 * self._values

    def _field(self, name: str) -> _Field | None:
        """The field of a name; None: it is one too many, or its name too long."""
        found = self._fields.get(name)
        if found is None:
            if len(self._fields) >= MOST_FIELDS or len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
                self._complete = False
                return None
            found = self._fields[name] = _Field()
        return found

    def finish(self) -> Columns:
        """The columns of all documents so far."""
        types: dict[str, FieldType] = {}
        table: list[tuple[int, int, int, int, int]] = []
        blobs: list[bytes] = []
        size = 0
        present = ((name, field) for name, field in sorted(self._fields.items()) if field.present)
        for number, (name, field) in enumerate(present):
            types[name], parts = _written(field, self._documents)
            for part, values in parts.items():
                stored = values.astype(values.dtype.newbyteorder("<"), copy=False)
                table.append((number, PARTS.index(part), DTYPES.index(stored.dtype.str), size, len(stored)))
                blob = stored.tobytes()
                blobs.append(blob + b"\0" * (-len(blob) % _ALIGNMENT))
                size += len(blobs[-1])
        arrays: dict[str, NDArray[Any]] = {
            "meta": np.frombuffer(b"".join(blobs), np.uint8),
            "meta_table": np.array(table, np.int64).reshape(-1, 5),
        }
        return Columns(types, self._complete, arrays)


def _placed(rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    found = places[rows[rows < len(places)]]
    return found[found >= 0]


def _written(field: _Field, documents: int) -> tuple[FieldType, dict[str, NDArray[Any]]]:
    kind = field.kind or Kind.OBJECT
    rows = np.frombuffer(field.documents, np.uint32).astype(np.int64)
    codes = np.frombuffer(field.codes, np.uint32)
    values = list(field.values)
    used = np.zeros(len(values), bool)
    used[codes] = True
    if not used.all():  # of documents that are gone
        codes = (np.cumsum(used) - 1)[codes].astype(np.uint32)
        values = [value for value, kept in zip(values, used.tolist(), strict=True) if kept]
    if kind is Kind.STRING and values and all(instant(value) is not None for value in values):
        kind = Kind.DATE
    ordinals, made = dictionary_arrays(kind, values)
    pairs = np.unique(ordinals[codes] * documents + rows) if len(rows) else np.empty(0, np.int64)
    own, rows = np.divmod(pairs, max(documents, 1))  # by value, then by document; each once
    many = bool(len(rows)) and int(np.bincount(rows).max()) > 1
    present, unindexed = (np.unique(np.frombuffer(some, np.uint32)) for some in (field.present, field.unindexed))
    sets: list[NDArray[Any]] = [present, unindexed]
    if kind is Kind.BOOLEAN or (kind is Kind.STRING and len(values) <= MOST_BITMAPS):
        sets += np.split(rows, np.searchsorted(own, np.arange(1, len(values)))) if values else []
    elif many:
        made["starts"] = np.searchsorted(own, np.arange(len(values) + 1)).astype(np.int64)
        made["documents"] = rows.astype(np.uint32)
    elif values:
        smallest = np.min_scalar_type(len(values))
        made["ordinals"] = np.zeros(documents, smallest if smallest.itemsize <= 4 else np.uint32)
        made["ordinals"][rows] = own + 1
    made |= _joined(map(roaring, sets))
    return FieldType(kind, many, bool(len(unindexed))), made


def _joined(blobs: Iterable[bytes]) -> dict[str, NDArray[Any]]:
    listed = list(blobs)
    return {
        "bitmaps": np.frombuffer(b"".join(listed), np.uint8),
        "bitmap_ends": ends_of(np.array([len(blob) for blob in listed], np.int64)),
    }
