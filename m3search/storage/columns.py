"""Columns: the fields of a segment's metadata, ready to be asked.

Imports filtering, dictionaries and bitmaps; `column_writer` says how columns are written. Invariant: it answers in packed bits
of documents, least significant first, the dead ones included, and nothing outside its arrays is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError
from m3search.filtering import FieldType, Kind
from m3search.storage.bitmaps import packed_rows, rows_of, unpacked
from m3search.storage.codec import check_ends
from m3search.storage.column_writer import DTYPES, PARTS, Columns
from m3search.storage.dictionaries import Dictionary, dictionary_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SETS = 2  # bitmaps before those of the values: who has the field, and whose values are not indexed
_KEPT = 16
_FEW = 4  # ordinals that are sooner compared one by one than looked up


class Column:
    """A field of a segment.

    Attributes:
        type: of the field in this segment.
        documents: how many the segment has.
        dictionary: the values.
    """

    def __init__(self, found: FieldType, documents: int, arrays: Mapping[str, NDArray[Any]], where: str) -> None:
        """Takes the arrays of a column.

        Raises:
            CorruptionError: they do not fit together.
        """
        self.type = found
        self.documents = documents
        self._where = where
        self._arrays = arrays
        try:
            self.dictionary: Dictionary = dictionary_of(found.kind, arrays, where)
            self._bitmaps: NDArray[np.uint8] = arrays["bitmaps"]
            self._ends: NDArray[np.int64] = arrays["bitmap_ends"]
        except KeyError as error:
            raise CorruptionError(f"{where} lacks {error}: restore the index or build it again") from error
        self._ordinals: NDArray[Any] | None = arrays.get("ordinals")
        self._starts: NDArray[np.int64] | None = arrays.get("starts")
        self._unpacked: dict[int, NDArray[np.uint8]] = {}
        self._check()

    def _check(self) -> None:
        values, sets = len(self.dictionary), len(self._ends) - 1
        check_ends(self._ends, sets, len(self._bitmaps), self._where)
        fits = sets == _SETS + values
        if self._ordinals is not None:
            fits = sets == _SETS and self._ordinals.shape == (self.documents,) and self._ordinals.dtype.kind == "u"
        elif self._starts is not None:
            fits = sets == _SETS and "documents" in self._arrays
            check_ends(self._starts, values, len(self._arrays.get("documents", ())), self._where)
        if not fits:
            raise CorruptionError(
                f"the arrays of {self._where} do not fit together: restore the index or build it again"
            )

    def same_as(self, other: Column) -> bool:
        """Whether it says the same, in whichever way it is written."""
        values = (
            _part(self._arrays, other._arrays, part) for part in ("bytes", "ends", "instants", "numbers", "rests")
        )
        sets = ((self.present_rows(), other.present_rows()), (self.unindexed_rows(), other.unindexed_rows()))
        return (
            all(values)
            and all(np.array_equal(mine, theirs) for mine, theirs in sets)
            and np.array_equal(self._sorted_pairs(), other._sorted_pairs())
        )

    def _sorted_pairs(self) -> NDArray[np.int64]:
        rows, ordinals = self.pairs()
        return np.sort(rows * (len(self.dictionary) + 1) + ordinals)

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        return self.type.kind

    def _set(self, number: int) -> NDArray[np.uint8]:
        """One of the bitmaps, not to be written to; the last few are kept, since filters ask for the same values again."""
        found = self._unpacked.get(number)
        if found is None:
            found = unpacked(self._bitmaps[self._ends[number] : self._ends[number + 1]], self.documents, self._where)
            if len(self._unpacked) >= _KEPT:
                self._unpacked = {}
            self._unpacked[number] = found
        return found

    def present(self) -> NDArray[np.uint8]:
        """Who has the field."""
        return self._set(0)

    def present_rows(self) -> NDArray[np.int64]:
        """The same as numbers."""
        return rows_of(self._set(0), self.documents)

    def unindexed_rows(self) -> NDArray[np.int64]:
        """Whose values are not indexed."""
        return rows_of(self._set(1), self.documents)

    # -- asking --

    def with_values(self, values: Iterable[Any]) -> NDArray[np.uint8]:
        """Who has one of these values."""
        found = sorted({ordinal for ordinal in map(self.dictionary.find, values) if ordinal >= 0})
        if self._ordinals is not None:
            return self._of_ordinals(self._ordinals, found)
        if self._starts is not None:
            return self._of_lists([(ordinal, ordinal + 1) for ordinal in found])
        if len(found) == 1:
            return self._set(_SETS + found[0])
        made: NDArray[np.uint8] = np.zeros(-(-self.documents // 8), np.uint8)
        for ordinal in found:
            made |= self._set(_SETS + ordinal)
        return made

    def within(
        self, low: float | None, high: float | None, *, with_low: bool = True, with_high: bool = True
    ) -> NDArray[np.uint8]:
        """Who has a value between two numbers, or instants of dates; None is no bound."""
        start, stop = self.dictionary.within(low, high, with_low=with_low, with_high=with_high)
        if start == stop:
            return np.zeros(-(-self.documents // 8), np.uint8)
        if self._ordinals is not None:
            of_type = self._ordinals.dtype.type
            inside = (
                self._ordinals - of_type(start + 1) < of_type(stop - start)
                if stop - start > 1
                else self._ordinals == of_type(stop)
            )
            return np.packbits(inside, bitorder="little")
        return self._of_lists([(start, stop)])

    def _of_ordinals(self, ordinals: NDArray[Any], wanted: list[int]) -> NDArray[np.uint8]:
        if len(wanted) > _FEW:
            table = np.zeros(len(self.dictionary) + 1, bool)
            table[np.array(wanted) + 1] = True
            return np.packbits(table.take(ordinals, mode="clip"), bitorder="little")
        inside = np.zeros(self.documents, bool)
        for ordinal in wanted:
            inside |= ordinals == ordinals.dtype.type(ordinal + 1)
        return np.packbits(inside, bitorder="little")

    def _of_lists(self, ranges: Iterable[tuple[int, int]]) -> NDArray[np.uint8]:
        assert self._starts is not None
        rows = [self._arrays["documents"][self._starts[start] : self._starts[stop]] for start, stop in ranges]
        try:
            return packed_rows(np.concatenate(rows) if rows else np.empty(0, np.int64), self.documents)
        except IndexError as error:
            raise CorruptionError(f"{self._where} is damaged: restore the index or build it again") from error

    # -- counting --

    def counts(self, allowed: NDArray[np.uint8]) -> dict[Any, int]:
        """Value -> how many of these documents have it; values that none has are left out.

        Args:
            allowed: the documents, packed.
        """
        if self._ordinals is not None:
            mask = np.unpackbits(allowed, count=self.documents, bitorder="little").view(bool)
            sizes = np.bincount(self._ordinals[mask], minlength=len(self.dictionary) + 1)[1:]
        elif self._starts is not None:
            rows = np.minimum(self._arrays["documents"], self.documents - 1)  # damaged ones count somewhere
            inside = (allowed[rows >> 3] >> (rows & 7) & 1).astype(np.int64)
            ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(inside)])
            sizes = np.diff(ends[self._starts])
        else:
            numbers = range(_SETS, len(self._ends) - 1)
            sizes = np.array([np.bitwise_count(self._set(number) & allowed).sum() for number in numbers], np.int64)
        values = self._values
        return {values[ordinal]: int(sizes[ordinal]) for ordinal in np.flatnonzero(sizes[: len(values)]).tolist()}

    @cached_property
    def _values(self) -> list[Any]:
        return self.dictionary.values()

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Documents and ordinals of all that is indexed, each pair once."""
        if self._ordinals is not None:
            rows = np.flatnonzero(self._ordinals)
            return rows, self._ordinals[rows].astype(np.int64) - 1
        if self._starts is not None:
            return self._arrays["documents"].astype(np.int64), np.repeat(
                np.arange(len(self.dictionary)), np.diff(self._starts)
            )
        sets = [rows_of(self._set(number), self.documents) for number in range(_SETS, len(self._ends) - 1)]
        ordinals = np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
        return np.concatenate([np.empty(0, np.int64), *sets]), ordinals


def _part(mine: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]], part: str) -> bool:
    return (part in mine) == (part in theirs) and (part not in mine or np.array_equal(mine[part], theirs[part]))


class SegmentColumns(Mapping[str, Column]):
    """All columns of a segment, each made when it is first asked for.

    Attributes:
        types: of the fields.
        complete: whether every field of the documents is among them.
    """

    def __init__(self, columns: Columns, documents: int, where: str) -> None:
        """Takes what `ColumnWriter` made.

        Args:
            columns: of the segment.
            documents: how many it has.
            where: names the segment in errors.

        Raises:
            CorruptionError: the table does not fit the arrays.
        """
        self.types = columns.types
        self.complete = columns.complete
        self._data: NDArray[np.uint8] = columns.arrays["meta"]
        self._table: NDArray[np.int64] = columns.arrays["meta_table"]
        self._documents = documents
        self._where = where
        self._numbers = {name: number for number, name in enumerate(sorted(columns.types))}
        self._read: dict[str, Column] = {}
        self._check()

    def _check(self) -> None:
        table = self._table
        fits = table.ndim == 2 and table.shape[1] == 5 and bool((table >= 0).all())
        if fits and len(table):
            limits = (len(self.types), len(PARTS), len(DTYPES), len(self._data) + 1, len(self._data) + 1)
            fits = bool((table < limits).all())
        if fits and len(table):
            sizes = np.array([np.dtype(name).itemsize for name in DTYPES])[table[:, 2]] * table[:, 4]
            fits = bool((table[:, 3] + sizes <= len(self._data)).all()) and not (table[:, 3] % 8).any()
        if not fits:
            raise CorruptionError(
                f"the columns of {self._where} do not fit together: restore the index or build it again"
            )

    def __getitem__(self, name: str) -> Column:
        column = self._read.get(name)
        if column is None:
            number = self._numbers[name]
            arrays = {}
            for _, part, kind, start, count in self._table[self._table[:, 0] == number].tolist():
                dtype = np.dtype(DTYPES[kind])
                arrays[PARTS[part]] = self._data[start : start + count * dtype.itemsize].view(dtype)
            where = f"field {name!r} of {self._where}"
            column = self._read[name] = Column(self.types[name], self._documents, arrays, where)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
