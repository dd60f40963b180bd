"""Binding: what a filter means where fields have given types.

Imports the tree, dates and fields. Invariant: what it returns holds values of the fields' own types only, and dates as
instants; a field that is not there, or a value of another type, is an error at its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never, TypeAlias, cast

from m3search.filtering.dates import Dates, instants
from m3search.filtering.fields import LONGEST_VALUE, FieldType, Kind
from m3search.filtering.place import Place, near, shown
from m3search.filtering.tree import And, AnyOf, Exists, Filter, Ids, Not, Or, Range, Value, Word

_INTEGER = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = {"inf", "+inf", "-inf"}
_MEANT = {
    Kind.STRING: "strings",
    Kind.NUMBER: "numbers",
    Kind.BOOLEAN: "booleans",
    Kind.DATE: "dates",
}


@dataclass(frozen=True, slots=True)
class Values:
    """One of the field's values is one of these, which are not dates."""

    field: str
    values: tuple[str | int | float | bool, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """One of the field's values lies between these: numbers, or instants of dates; None is no bound."""

    field: str
    low: float | None = None
    high: float | None = None
    with_low: bool = True
    with_high: bool = True


@dataclass(frozen=True, slots=True)
class Nothing:
    """True of no document."""


Bound: TypeAlias = Values | Interval | Nothing | Exists | Ids | And | Or | Not
"""A filter whose clauses are these; the parts of And, Or and Not are bound, too."""


def bind(node: Filter, types: Mapping[str, FieldType], hint: str = "") -> Bound:
    """A filter, for these fields.

    Args:
        node: as it was parsed.
        types: of all fields.
        hint: added where a field is not there.

    Raises:
        FilterError: a field is not there, cannot be compared, or is of another type than a value.
    """
    if isinstance(node, And | Or):
        parts: tuple[Any, ...] = tuple(bind(part, types, hint) for part in node.parts)
        return type(node)(parts)
    if isinstance(node, Not):
        return Not(cast("Any", bind(node.part, types, hint)))
    if isinstance(node, Ids):
        return node
    found = types.get(node.field)
    if found is None:
        close = near(node.field, types, "fields")
        raise node.place.error(f"no document has a field {shown(node.field)}: {close}{hint}")
    if isinstance(node, Exists):
        return node
    _check_comparable(node.field, found, node.place)
    if isinstance(node, Range):
        return _range(node, found.kind)
    kind = found.kind
    if isinstance(node, AnyOf):
        return _any(node.field, node.values, kind, node.place)
    alone = [_any(node.field, [value], kind, node.place, first) for first, value in enumerate(node.values)]
    return alone[0] if len(alone) == 1 else And(cast("Any", tuple(alone)))


def _check_comparable(name: str, found: FieldType, place: Place) -> None:
    if found.kind is Kind.MIXED:
        raise place.error(
            f"{shown(name)} has values of several types in documents that an earlier version stored: build the "
            f"index again to filter by it"
        )
    if found.kind is Kind.OBJECT or found.partly:
        raise place.error(
            f"{shown(name)} has values that are not indexed (lists of mappings, of lists, of several types, or very "
            f"long ones): a filter can only ask whether it exists"
        )


def _any(name: str, values: Sequence[Value], kind: Kind, place: Place, first: int | None = None) -> Bound:
    """One of the values; `first` is the number of the first one in the user's list, None where there is none."""
    if first is None and len(values) > 1:
        first = 0
    placed = [(value, _at(place, value, None if first is None else first + n)) for n, value in enumerate(values)]
    if kind is Kind.DATE:
        days = [_interval(name, _date(name, value, at)) for value, at in placed]
        return days[0] if len(days) == 1 else Or(cast("Any", tuple(days)))
    compared = tuple(dict.fromkeys(_compared(name, value, kind, at) for value, at in placed))
    return Values(name, compared) if compared else Nothing()


def _range(node: Range, kind: Kind) -> Bound:
    if kind not in {Kind.NUMBER, Kind.DATE}:
        hint = "; dates are strings of ISO 8601 in every document" if kind is Kind.STRING else ""
        raise node.place.error(f"{shown(node.field)} holds {_MEANT[kind]}, and ranges are for numbers and dates{hint}")
    low = high = None
    with_low = with_high = True
    for sign, value in node.bounds:
        border, included = _border(node.field, sign, value, kind, _at(node.place, value, sign))
        if sign in {"gt", "gte"}:
            if low is None or border > low or (border == low and not included):
                low, with_low = border, included
        elif high is None or border < high or (border == high and not included):
            high, with_high = border, included
    return Interval(node.field, low, high, with_low, with_high)


def _at(place: Place, value: Value, key: object) -> Place:
    return place.value(key, value.at if isinstance(value, Word) else None)


def _border(name: str, sign: str, value: Value, kind: Kind, place: Place) -> tuple[float, bool]:
    """A bound, and whether it is within; a day ends where the next one begins."""
    if kind is Kind.NUMBER:
        number = _compared(name, value, kind, place)
        assert not isinstance(number, str)
        return number, sign in {"gte", "lte"}
    day = _date(name, value, place)
    return (day.start if sign in {"gte", "lt"} else day.stop), sign in {"gte", "gt"}


def _interval(name: str, dates: Dates) -> Interval:
    return Interval(name, dates.start, dates.stop, with_high=False)


def _date(name: str, value: Value, place: Place) -> Dates:
    text = value.text if isinstance(value, Word) else value
    found = instants(text) if isinstance(text, str) else None
    if found is None:
        _mismatch(name, Kind.DATE, value, place, " such as 2020-01-31 or 2020-01-31T12:00Z")
    return found


def _compared(name: str, value: Value, kind: Kind, place: Place) -> str | int | float | bool:
    if isinstance(value, Word):
        value = _typed(name, value, kind, place)
    fits = {
        Kind.STRING: isinstance(value, str),
        Kind.BOOLEAN: isinstance(value, bool),
        Kind.NUMBER: isinstance(value, int | float) and not isinstance(value, bool),
    }
    if not fits[kind]:
        _mismatch(name, kind, value, place)
    if isinstance(value, str) and len(value.encode("utf-8", "replace")) > LONGEST_VALUE:
        raise place.error(
            f"{shown(value)} is longer than the {LONGEST_VALUE} bytes that are compared: ask for a shorter value"
        )
    return value


def _typed(name: str, word: Word, kind: Kind, place: Place) -> str | int | float | bool:
    """What a word without quotes is in a field of this kind."""
    text = word.text
    if kind is Kind.STRING:
        return text
    if kind is Kind.BOOLEAN:
        if text.lower() not in {"true", "false"}:
            _mismatch(name, kind, word, place, ", true or false")
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if text.lower() not in _INFINITE and (not _NUMBER.fullmatch(text) or math.isinf(float(text))):
        _mismatch(name, kind, word, place)
    return float(text)


def _mismatch(name: str, kind: Kind, value: Value, place: Place, hint: str = "") -> Never:
    given = value.text if isinstance(value, Word) else value
    raise place.error(f"{shown(name)} holds {_MEANT[kind]}{hint}, and {shown(given)} is none")
