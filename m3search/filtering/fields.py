"""Fields: what the metadata of documents has, and of which type it is.

Imports nothing of the project. Invariant: the type of a field follows from its values alone.

A mapping within the metadata has no value of its own; its fields are named with dots, as "author.name". None, NaN and empty
lists are no value. int and float are both numbers. A list has as many values as it has items of one type; a list of several
types, or of lists or mappings, is an `Kind.OBJECT`: it is stored, and a filter can ask only whether it is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

LONGEST_LIST = 256
"""Values of one field in one document; of a longer list it is known only that it is there."""

LONGEST_VALUE = 256
"""Bytes of a string in UTF-8; a longer one equals nothing that a filter may ask for."""

_PARTLY, _LIST = "partly ", "list of "


class Kind(StrEnum):
    """The type of a value."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    OBJECT = "object"
    MIXED = "values of several types"


_KINDS: dict[type, Kind] = {str: Kind.STRING, bool: Kind.BOOLEAN, int: Kind.NUMBER, float: Kind.NUMBER}


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field; its text is "string", "list of number", "partly list of string".

    Attributes:
        kind: of its values; strings that are all ISO 8601 dates are dates.
        many: whether a document has several values.
        partly: whether some document's values are not indexed, so that only `exists` can be asked.
    """

    kind: Kind
    many: bool = False
    partly: bool = False

    def __str__(self) -> str:
        return f"{_PARTLY if self.partly else ''}{_LIST if self.many else ''}{self.kind}"

    @classmethod
    def of(cls, text: str) -> Self:
        """From its text.

        Raises:
            ValueError: it is no type.
        """
        partly, rest = text.startswith(_PARTLY), text.removeprefix(_PARTLY)
        return cls(Kind(rest.removeprefix(_LIST)), rest.startswith(_LIST), partly)


def merged_types(several: Iterable[Mapping[str, FieldType]]) -> dict[str, FieldType]:
    """The types of fields that have these types in parts of an index: dates beside strings are strings."""
    merged: dict[str, FieldType] = {}
    for types in several:
        for name, found in types.items():
            before = merged.get(name)
            if before is None or before == found:
                merged[name] = found
                continue
            kinds = {before.kind, found.kind}
            kind = Kind.MIXED
            if len(kinds) == 1:
                kind = found.kind
            elif kinds == {Kind.STRING, Kind.DATE}:
                kind = Kind.STRING
            merged[name] = FieldType(kind, before.many or found.many, before.partly or found.partly)
    return merged


def flattened(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of all fields; a value is a scalar, None, or a list."""
    for key, value in metadata.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def typed_values(value: Any) -> tuple[Kind | None, list[Any]]:  # noqa: ANN401 - JSON-like values
    """The kind of a field's value in one document, and its values: none of `Kind.OBJECT`; None: it has no value."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return (None, []) if value != value else (kind, [value])  # noqa: PLR0124 - NaN alone does not equal itself
    if not isinstance(value, list | tuple):
        return (None, []) if value is None else (Kind.OBJECT, [])
    kinds = {_KINDS.get(type(item), Kind.OBJECT) for item in value if not _is_none(item)}
    if not kinds:
        return None, []
    kind = kinds.pop()
    if kinds or kind is Kind.OBJECT:
        return Kind.OBJECT, []
    return kind, [item for item in value if not _is_none(item)]


def _is_none(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
