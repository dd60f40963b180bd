"""Tree: what a filter says, whichever way it was written.

Imports errors. Invariant: every value is frozen and hashable, so that equal filters are equal values; a tree has at most
`MOST_CLAUSES` clauses, `MOST_VALUES` values in them, and is at most `DEEPEST` deep.

A clause about a field is true of a document if one of the field's values satisfies it: a field may have several values, or
none. `str` of a tree is the text that means the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from m3search.filtering.place import NOWHERE, Place

DEEPEST = 32
MOST_CLAUSES = 1000
MOST_VALUES = 100_000

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
RESERVED = {"and", "or", "not", "id"}
WORDS = RESERVED | {"any", "all", "in", "exists"}
"""Words of the text that no field or value can be without quotes."""


@dataclass(frozen=True, slots=True)
class Word:
    """A value that a text gives without quotes: what it is depends on the field that it is compared with.

    Attributes:
        text: the word.
        at: its first character in the filter.
    """

    text: str
    at: int = dataclasses.field(default=0, compare=False, repr=False)


Value: TypeAlias = str | int | float | bool | Word


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the field's values is one of these; with one, that it equals it."""

    field: str
    values: tuple[Value, ...]
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{_name(self.field)}={_value(self.values[0])}"
        return f"{_name(self.field)} any {_list(self.values)}"


@dataclass(frozen=True, slots=True)
class AllOf:
    """The field has every one of these values."""

    field: str
    values: tuple[Value, ...]
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{_name(self.field)} all {_list(self.values)}"


@dataclass(frozen=True, slots=True)
class Range:
    """One of the field's values is within all bounds: pairs of "gt", "gte", "lt" or "lte" and a value."""

    field: str
    bounds: tuple[tuple[str, Value], ...]
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{_name(self.field)}{' '.join(f'{_SIGNS[sign]}{_value(value)}' for sign, value in self.bounds)}"


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    field: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{_name(self.field)} exists"


@dataclass(frozen=True, slots=True)
class Ids:
    """The document's id is one of these; ids that no document has do no harm."""

    ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"id any {_list(self.ids)}"


@dataclass(frozen=True, slots=True)
class And:
    """Every part is true; without parts it is true of every document."""

    parts: tuple[Filter, ...]

    def __str__(self) -> str:
        if not self.parts:
            return "not id any ()"
        return " ".join(_grouped(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """One part is true; without parts it is true of no document."""

    parts: tuple[Filter, ...]

    def __str__(self) -> str:
        if not self.parts:
            return "id any ()"
        return " or ".join(_grouped(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """The part is not true: also of documents that lack the field."""

    part: Filter

    def __str__(self) -> str:
        return f"not {_grouped(self.part)}"


Filter: TypeAlias = AnyOf | AllOf | Range | Exists | Ids | And | Or | Not


class Room:
    """How much of a tree may still be made: it may come from outside."""

    def __init__(self) -> None:
        self._clauses = MOST_CLAUSES
        self._values = MOST_VALUES

    def clause(self, place: Place, values: int = 0) -> None:
        """Take the room of a clause with so many values."""
        self._clauses -= 1
        self._values -= values
        if self._clauses < 0:
            raise place.error(
                f"the filter has more than {MOST_CLAUSES:,} clauses: give a list of values to one of them"
            )
        if self._values < 0:
            raise place.error(f"the filter has more than {MOST_VALUES:,} values: filter by a field that says less")

    @staticmethod
    def depth(place: Place, depth: int) -> None:
        """Raise where a part is too deep."""
        if depth > DEEPEST:
            raise place.error(f"the filter is more than {DEEPEST} deep: write it flatter")


def conjunction(parts: Sequence[Filter]) -> Filter:
    """All of them; one alone is itself."""
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def disjunction(parts: Sequence[Filter]) -> Filter:
    """One of them; one alone is itself."""
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _grouped(part: Filter) -> str:
    return f"({part})" if isinstance(part, And | Or) and part.parts else str(part)


def _name(name: str) -> str:
    if name in RESERVED or name.startswith("metadata."):
        name = f"metadata.{name}"
    return name if _is_word(name) else _quoted(name)


def _value(value: Value) -> str:
    if isinstance(value, Word):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _list(values: Sequence[Value]) -> str:
    return f"({', '.join(map(_value, values))})"


def _is_word(text: str) -> bool:
    return text.lower() not in WORDS and bool(text) and not any(c.isspace() or c in "()<>=!,\"'" for c in text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
