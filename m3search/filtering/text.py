"""Text: a filter as a line of text, for the command line and wherever a text is what there is.

Imports the tree. Invariant: as in `mapping`; the tree of a text is that of the mapping that says the same, but for words
without quotes, whose type is that of the field.

    filter     = [ or ]
    or         = and { "or" and }
    and        = not { [ "and" ] not }
    not        = "not" not | "(" or ")" | clause
    clause     = name ( "=" value | "!=" value | bound { bound } | list | "exists" )
    bound      = ( ">" | ">=" | "<" | "<=" ) value
    list       = ( "any" | "in" | "all" ) "(" [ value { "," value } ] ")"
    name       = word | string                  "id" is the document's id
    value      = word | string
    string     = in double or single quotes; a backslash takes the next character as it is
"""

from __future__ import annotations

from typing import NamedTuple

from m3search.filtering.place import Place, shown
from m3search.filtering.tree import (
    RESERVED,
    WORDS,
    AllOf,
    And,
    AnyOf,
    Exists,
    Filter,
    Ids,
    Not,
    Range,
    Room,
    Value,
    Word,
    conjunction,
    disjunction,
)

LONGEST_TEXT = 1_000_000
"""Characters."""

_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_ENDS = " ()<>=!,\"'"


def parse_text(text: str) -> Filter:
    """The tree of a text; that of an empty one is true of every document.

    Raises:
        FilterError: it is no filter; the message has a caret at the place.
    """
    if len(text) > LONGEST_TEXT:
        raise Place(text=text).error(f"the filter has {len(text):,} characters, at most {LONGEST_TEXT:,} are possible")
    return _Parser(text).all()


class _Token(NamedTuple):
    """A word, a string, a sign, or the end.

    Attributes:
        kind: "word", "string", "sign" or "end".
        text: without quotes.
        at: its first character.
    """

    kind: str
    text: str
    at: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these words, without quotes."""
        return self.kind == "word" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.kind == "sign" and self.text in signs


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._room = Room()
        self._next = self._read()

    def all(self) -> Filter:
        if self._next.kind == "end":
            return And(())
        found = self._or(1)
        if self._next.kind != "end":
            raise self._unexpected("'and', 'or' or another clause")
        return found

    # -- tokens --

    def _read(self) -> _Token:
        text = self._text
        while self._at < len(text) and text[self._at].isspace():
            self._at += 1
        start = self._at
        if start == len(text):
            return _Token("end", "", start)
        first = text[start]
        if first in "\"'":
            return self._string(first, start)
        if first in _ENDS:
            two = text[start : start + 2]
            sign = two if two in {">=", "<=", "!=", "=="} else first
            self._at += len(sign)
            return _Token("sign", "=" if sign == "==" else sign, start)
        while self._at < len(text) and text[self._at] not in _ENDS and not text[self._at].isspace():
            self._at += 1
        return _Token("word", text[start : self._at], start)

    def _string(self, quote: str, start: int) -> _Token:
        made = []
        at = start + 1
        while at < len(self._text) and self._text[at] != quote:
            at += self._text[at] == "\\"
            made.append(self._text[at : at + 1])
            at += 1
        if at >= len(self._text):
            raise self._place(start).error("this quote is not closed")
        self._at = at + 1
        return _Token("string", "".join(made), start)

    def _take(self) -> _Token:
        token, self._next = self._next, self._read()
        return token

    def _place(self, at: int) -> Place:
        return Place(text=self._text, at=at)

    def _unexpected(self, wanted: str) -> Exception:
        found = "the end" if self._next.kind == "end" else shown(self._next.text)
        return self._place(self._next.at).error(f"{wanted} should stand here, not {found}")

    # -- grammar --

    def _or(self, depth: int) -> Filter:
        parts = [self._and(depth)]
        while self._next.is_word("or"):
            self._room.clause(self._place(self._take().at))
            parts.append(self._and(depth))
        return disjunction(parts)

    def _and(self, depth: int) -> Filter:
        parts = [self._not(depth)]
        while True:
            if self._next.is_word("and"):
                self._take()
            elif (
                self._next.kind == "end"
                or self._next.is_word("or")
                or (self._next.kind == "sign" and self._next.text != "(")
            ):
                return conjunction(parts)
            parts.append(self._not(depth))

    def _not(self, depth: int) -> Filter:
        place = self._place(self._next.at)
        self._room.depth(place, depth)
        if self._next.is_word("not"):
            self._take()
            self._room.clause(place)
            return Not(self._not(depth + 1))
        if self._next.is_sign("("):
            self._take()
            self._room.clause(place)
            found = self._or(depth + 1)
            if not self._next.is_sign(")"):
                raise self._unexpected("')'")
            self._take()
            return found
        return self._clause()

    def _clause(self) -> Filter:
        if self._next.kind not in {"word", "string"} or self._next.is_word(*(WORDS - {"id"})):
            raise self._unexpected("the name of a field")
        token = self._take()
        place = self._place(token.at)
        if token.kind == "word" and token.text in RESERVED:
            return self._ids(place)
        name = token.text.removeprefix("metadata.")
        if self._next.is_word("exists"):
            self._take()
            self._room.clause(place)
            return Exists(name, place)
        if self._next.is_word("any", "in", "all"):
            operator = self._take().text.lower()
            values = self._values()
            self._room.clause(place, len(values))
            return AllOf(name, values, place) if operator == "all" else AnyOf(name, values, place)
        if self._next.is_sign("=", "!="):
            sign = self._take()
            self._room.clause(place, 1)
            equal = AnyOf(name, (self._value(),), place)
            return equal if sign.text == "=" else Not(equal)
        bounds = []
        while self._next.is_sign(*_BOUNDS):
            sign = self._take()
            self._room.clause(place, 1)
            bounds.append((_BOUNDS[sign.text], self._value()))
        if not bounds:
            raise self._unexpected("=, !=, <, <=, >, >=, 'any', 'all' or 'exists'")
        return Range(name, tuple(bounds), place)

    def _ids(self, place: Place) -> Filter:
        if self._next.is_word("any", "in"):
            self._take()
            values = self._values()
        elif self._next.is_sign("=", "!="):
            sign = self._take()
            values = (self._value(),)
            if sign.text == "!=":
                self._room.clause(place, 1)
                return Not(Ids((_text(values[0]),)))
        else:
            raise self._unexpected("=, != or 'any'")
        self._room.clause(place, len(values))
        return Ids(tuple(map(_text, values)))

    def _values(self) -> tuple[Value, ...]:
        if not self._next.is_sign("("):
            raise self._unexpected("'(' and a list of values")
        self._take()
        values: list[Value] = []
        while not self._next.is_sign(")"):
            if values:
                if not self._next.is_sign(","):
                    raise self._unexpected("',' or ')'")
                self._take()
            values.append(self._value())
        self._take()
        return tuple(values)

    def _value(self) -> Value:
        if self._next.kind not in {"word", "string"}:
            raise self._unexpected("a value")
        token = self._take()
        return Word(token.text, token.at) if token.kind == "word" else token.text


def _text(value: Value) -> str:
    return value.text if isinstance(value, Word) else str(value)
