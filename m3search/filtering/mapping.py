"""Mapping: a filter as Python's values, as JSON has them too.

Imports the tree and the text. Invariant: what it does not understand it refuses, with the place; nothing is guessed.

    {"lang": "de", "year": {"gte": 2020}, "tags": {"any": ["zip", "tar"]}, "not": {"draft": True}}

All entries of a mapping must be true. A key is a field, or one of "and", "or" (lists of filters), "not" (a filter) and "id" (an
id or a list of ids). A field goes with a value that it equals, None (it has no value), a list of values (it has one of them),
or a mapping of operators, all of which must be true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias, TypeGuard, get_args

import numpy as np

from m3search.filtering.place import Place, near, shown
from m3search.filtering.text import parse_text
from m3search.filtering.tree import (
    AllOf,
    AnyOf,
    Exists,
    Filter,
    Ids,
    Not,
    Range,
    Room,
    Value,
    conjunction,
    disjunction,
)

FilterLike: TypeAlias = Mapping[str, Any] | str | Filter | None
"""A filter as mapping or text, or one that was parsed already; None: no filter."""

_BOUNDS = ("gt", "gte", "lt", "lte")
_OPERATORS = ("eq", "ne", *_BOUNDS, "any", "in", "all", "exists")


def as_filter(given: FilterLike, name: str = "filter") -> Filter | None:
    """The tree of a filter; None stays None.

    Args:
        given: see `FilterLike`.
        name: what it is called in errors.

    Raises:
        FilterError: it is none, or larger than a filter may be.
    """
    if given is None or isinstance(given, get_args(Filter)):
        return given
    if isinstance(given, str):
        return parse_text(given)
    return _Parser().filter(given, Place(name), 1)


class _Parser:
    def __init__(self) -> None:
        self._room = Room()

    def filter(self, given: object, place: Place, depth: int) -> Filter:
        """A mapping."""
        self._room.depth(place, depth)
        if not isinstance(given, Mapping):
            what = f"a {type(given).__name__}"
            raise place.error(
                f"{what} is no filter: give a mapping such as {{'lang': 'de'}}, or a text such as 'lang=de'"
            )
        return conjunction([self._entry(key, value, place.key(key), depth) for key, value in given.items()])

    def _entry(self, key: object, value: object, place: Place, depth: int) -> Filter:
        if not isinstance(key, str):
            raise place.error(f"the key is a {type(key).__name__}: give the name of a field")
        if key in {"and", "or"}:
            if not _is_list(value):
                raise place.error(f"{key!r} takes a list of filters")
            self._room.clause(place)
            parts = [self.filter(one, place.key(number), depth + 1) for number, one in enumerate(value)]
            return conjunction(parts) if key == "and" else disjunction(parts)
        if key == "not":
            self._room.clause(place)
            return Not(self.filter(value, place, depth + 1))
        if key == "id":
            return self._ids(value, place)
        return self._field(key.removeprefix("metadata."), value, place)

    def _ids(self, value: object, place: Place) -> Filter:
        if isinstance(value, Mapping) and set(value) <= {"any", "in", "eq"} and len(value) == 1:
            ((operator, value),) = value.items()
            place = place.key(operator)
        many = list(value) if _is_list(value) else [value]
        self._room.clause(place, len(many))
        for number, one in enumerate(many):
            if isinstance(one, bool) or not isinstance(one, str | int):
                raise (place.key(number) if _is_list(value) else place).error(f"{shown(one)} is no id: give strings")
        return Ids(tuple(map(str, many)))

    def _field(self, name: str, value: object, place: Place) -> Filter:
        if value is None:
            self._room.clause(place)
            return Not(Exists(name, place))
        if _is_list(value):
            return AnyOf(name, self._values(value, place), place)
        if not isinstance(value, Mapping):
            return AnyOf(name, (self._value(value, place),), place)
        if not value:
            raise place.error(f"no operator is given: operators are {', '.join(_OPERATORS)}")
        parts: list[Filter] = []
        bounds: list[tuple[str, Value]] = []
        for operator, operand in value.items():
            inner = place.key(operator)
            if operator not in _OPERATORS:
                hint = near(operator, _OPERATORS, "operators") if isinstance(operator, str) else "operators are strings"
                raise inner.error(
                    f"there is no operator {shown(operator)}: {hint}; the fields of a mapping within the metadata "
                    f"are written with dots, as {shown(f'{name}.{operator}')}"
                )
            if operator in _BOUNDS:
                bounds.append((operator, self._value(operand, inner)))
            else:
                parts.append(self._operator(name, operator, operand, inner))
        if bounds:
            parts.insert(0, Range(name, tuple(bounds), place))
        return conjunction(parts)

    def _operator(self, name: str, operator: str, operand: object, place: Place) -> Filter:
        if operator == "exists":
            if not isinstance(operand, bool):
                raise place.error(f"'exists' takes True or False, not {shown(operand)}")
            self._room.clause(place)
            return Exists(name, place) if operand else Not(Exists(name, place))
        if operator in {"eq", "ne"}:
            if operand is None:
                return self._operator(name, "exists", operator == "ne", place)
            equal = AnyOf(name, (self._value(operand, place),), place)
            return equal if operator == "eq" else Not(equal)
        if not _is_list(operand):
            raise place.error(f"{operator!r} takes a list of values, not {shown(operand)}")
        values = self._values(operand, place)
        return AllOf(name, values, place) if operator == "all" else AnyOf(name, values, place)

    def _values(self, given: Sequence[Any], place: Place) -> tuple[Value, ...]:
        self._room.clause(place, len(given))
        return tuple(_value(one, place.key(number)) for number, one in enumerate(given))

    def _value(self, given: object, place: Place) -> Value:
        self._room.clause(place, 1)
        return _value(given, place)


def _value(given: object, place: Place) -> Value:
    if isinstance(given, np.bool_ | np.integer | np.floating):
        given = given.item()
    if isinstance(given, date):
        return given.isoformat()
    if isinstance(given, float) and math.isnan(given):
        raise place.error("nan is no value to compare with: give None for documents without a value")
    if isinstance(given, str | int | float):
        return given
    if given is None:
        raise place.error("None is no value here: write {'exists': False} for documents without a value")
    raise place.error(f"{shown(given)} is a {type(given).__name__}: give a string, number, boolean or date")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)
