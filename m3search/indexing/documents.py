"""Documents: str, mapping or Document -> a Document that can be indexed and stored.

Owns the rules of what a document may hold; imports records and errors only. Invariant: what `as_document` returns
has an id that fits into the store, text that encodes to UTF-8, and metadata that msgpack and JSON can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Never

import numpy as np

from m3search.errors import DocumentError
from m3search.records import Document

LONGEST_ID = 4096
"""Bytes of an id in UTF-8."""

LONGEST_TITLE = 2**20
"""Bytes of a title in UTF-8."""

LONGEST_TEXT = 32 * 2**20
"""Bytes of a text in UTF-8."""

LARGEST_METADATA = 16 * 2**20
"""Bytes of one document's metadata, roughly: keys, strings, and 9 for every other value."""

DEEPEST_METADATA = 16
"""Lists and mappings within each other."""

_ID_KEYS = ("id", "_id", "doc_id")


def as_document(value: object, ordinal: int, where: str | None = None) -> Document:
    """A document from what a user handed in.

    A str is a text whose id is `ordinal`. A mapping has its id under ``id``, ``_id`` or ``doc_id`` (an int becomes
    str), and ``text``; ``title`` and ``metadata`` may be missing or None. Its other keys go into the metadata.
    Metadata may hold None, bool, int of 64 bits, float, str, lists and mappings of these; numpy's scalars become
    Python's, tuples lists, and date and datetime ISO 8601 strings.

    Args:
        value: a str, a mapping or a Document.
        ordinal: the how-manieth it is, from 0.
        where: where it comes from, such as "corpus.jsonl:17", for messages; None: "document 17".

    Raises:
        DocumentError: the value makes no document; the message says where, which id, why and what to do.
    """
    place = _Place(f"document {ordinal}" if where is None else where)
    if isinstance(value, str):
        value = Document(str(ordinal), value)
    elif isinstance(value, Mapping):
        value = _from_mapping(value, place)
    elif not isinstance(value, Document):
        place.reject("not a document", f"a {type(value).__name__} is no document: give a str, a mapping or a Document")
    return _checked(value, place)


class _Place:
    """Where a document comes from and what it calls itself: the first words of every message."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.doc_id = ""

    def reject(self, kind: str, reason: str) -> Never:
        name = f"{self.where} (id {_short(self.doc_id)})" if self.doc_id else self.where
        raise DocumentError(f"{name}: {reason}", where=self.where, doc_id=self.doc_id, kind=kind)


def _from_mapping(value: Mapping[Any, Any], place: _Place) -> Document:
    doc_id = _mapped_id(value, place)
    place.doc_id = doc_id
    if "text" not in value:
        keys = ", ".join(sorted(map(str, value))) or "none at all"
        place.reject("no text", f"there is no 'text'; its keys are {keys}: name the body 'text'")
    title = value.get("title")
    metadata = value.get("metadata")
    if metadata is None:
        metadata = {}
    elif not isinstance(metadata, Mapping):
        place.reject("metadata", f"'metadata' is {_described(metadata)}: give a mapping, or another name to this key")
    taken = {"text", "title", "metadata", *_ID_KEYS}
    others = {key: field for key, field in value.items() if key not in taken}
    for key, field in others.items():
        if key in metadata and not _equal(metadata[key], field):
            place.reject(
                "metadata",
                f"{key!r} stands beside the metadata and in it, with different values: keep one of them",
            )
    return Document(doc_id, value["text"], "" if title is None else title, {**others, **metadata})


def _mapped_id(value: Mapping[Any, Any], place: _Place) -> str:
    """The id that a mapping gives under one or several of the names for it."""
    given = {key: _id_as_str(value[key], key, place) for key in _ID_KEYS if value.get(key) is not None}
    if not given:
        place.reject(
            "missing id",
            f"there is no id: give every document a unique {', '.join(map(repr, _ID_KEYS[:2]))} or 'doc_id'",
        )
    if len(set(given.values())) > 1:
        stated = ", ".join(f"{key!r} is {_short(name)}" for key, name in given.items())
        place.reject("ambiguous id", f"it has ids that differ: {stated}: keep one of them")
    return next(iter(given.values()))


def _id_as_str(value: object, key: str, place: _Place) -> str:
    if isinstance(value, np.integer):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 128:
        value = str(value)
    if not isinstance(value, str):
        place.reject("id is no string", f"{key!r} is {_described(value)}: give a string or an int of at most 128 bits")
    return value


def _checked(document: Document, place: _Place) -> Document:
    doc_id = _id_as_str(document.id, "id", place)
    place.doc_id = doc_id
    if not doc_id:
        place.reject("empty id", "the id is empty: give every document a unique id")
    size = _size(doc_id, "id", place)
    if size > LONGEST_ID:
        place.reject("id too long", f"the id has {size:,} bytes, at most {LONGEST_ID:,} are possible: shorten it")
    for name, longest in (("title", LONGEST_TITLE), ("text", LONGEST_TEXT)):
        field = getattr(document, name)
        if not isinstance(field, str):
            place.reject(f"{name} is no string", f"the {name} is {_described(field)}: give a string ('' for none)")
        size = _size(field, name, place)
        if size > longest:
            place.reject(
                f"{name} too long",
                f"the {name} has {size:,} bytes, at most {longest:,} are possible: split it into several documents",
            )
    if not isinstance(document.metadata, Mapping):
        place.reject("metadata", f"the metadata is {_described(document.metadata)}: give a mapping")
    return Document(doc_id, document.text, document.title, _Metadata(place).mapping(document.metadata, "", 1))


def _size(text: str, name: str, place: _Place) -> int:
    """Bytes in UTF-8."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        place.reject(
            "lone surrogate",
            f"the {name} holds the lone surrogate U+{code:04X} at character {error.start}, which is no text: "
            "it comes from a broken encoding; replace or remove it",
        )


class _Metadata:
    """Brings one document's metadata into the form that is stored."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._room = LARGEST_METADATA

    def mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        self._descend(path, depth)
        stored: dict[str, Any] = {}
        for key, field in value.items():
            if not isinstance(key, str):
                self._place.reject(
                    "metadata", f"{path or 'the metadata'} has the key {_described(key)}: keys must be strings"
                )
            self._take(_size(key, f"key of {path or 'the metadata'}", self._place))
            stored[key] = self._value(field, f"{path}.{key}" if path else f"metadata {key}", depth)
        return stored

    def _value(self, value: object, path: str, depth: int) -> Any:  # noqa: ANN401 - JSON-like values
        if isinstance(value, np.bool_ | np.integer | np.floating):
            value = value.item()
        if isinstance(value, date):
            value = value.isoformat()
        if isinstance(value, str):
            self._take(_size(value, path, self._place))
            return value
        if isinstance(value, Mapping):
            return self.mapping(value, path, depth + 1)
        if isinstance(value, list | tuple):
            self._descend(path, depth + 1)
            return [self._value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        self._take(9)
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            self._place.reject("metadata", f"{path} is an int beyond 64 bits: store it as a string")
        if value is not None and not isinstance(value, bool | int | float):
            self._place.reject(
                "metadata",
                f"{path} is {_described(value)}, which cannot be stored: "
                "give None, bool, int, float, str, a date, or lists and mappings of these",
            )
        return value

    def _descend(self, path: str, depth: int) -> None:
        self._take(9)
        if depth > DEEPEST_METADATA:
            where = path if len(path) < 80 else f"{path[:80]}..."
            self._place.reject("metadata", f"{where} is nested more than {DEEPEST_METADATA} deep: flatten it")

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._place.reject(
                "metadata", f"the metadata has more than {LARGEST_METADATA:,} bytes: keep large things elsewhere"
            )


def _equal(one: object, other: object) -> bool:
    """Whether two scalars are the same; what may hold an array, whose == is no bool, is not compared."""
    return one is other or (type(one) is type(other) and isinstance(one, str | int | float) and one == other)


def _described(value: object) -> str:
    """What kind of thing a value is, for a message."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, str):
        return f"the string {_short(value)}"
    if isinstance(value, int) and value.bit_length() <= 128:
        return f"the int {value}"
    return f"of type {type(value).__name__}"


def _short(text: str) -> str:
    """An id for a message: quoted, printable, not endless."""
    return repr(text if len(text) <= 100 else f"{text[:100]}...")
