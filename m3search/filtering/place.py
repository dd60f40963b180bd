"""Place: where in a filter something stands, for messages.

Imports errors. Invariant: a place has no part in what a filter means.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from m3search.errors import FilterError

if TYPE_CHECKING:
    from collections.abc import Collection

_AROUND = 60  # characters of a long text that are shown on either side
_LONGEST_SHOWN = 40
_FIELDS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a filter that was given as Python's values, or as a text.

    Attributes:
        path: keys and numbers that lead there, as Python writes them; of a text "".
        text: all of it; "" of values.
        at: the character in the text.
    """

    path: str = ""
    text: str = ""
    at: int = 0

    def key(self, key: object) -> Place:
        """What stands under a key, or at a number in a list."""
        return Place(f"{self.path}[{shown(key)}]")

    def value(self, key: object, at: int | None) -> Place:
        """A value of the clause that stands here: under a key, or from a character on, where that is known."""
        if self.path:
            return self if key is None else self.key(key)
        return self if at is None else Place(text=self.text, at=at)

    def error(self, message: str) -> FilterError:
        """An error that points here."""
        if self.path:
            return FilterError(f"{self.path}: {message}")
        start = max(self.at - _AROUND, 0)
        line = "".join(character if character.isprintable() else " " for character in self.text)
        before, behind = line[start : self.at], line[self.at : self.at + _AROUND]
        before = f"…{before}" if start else before
        behind = f"{behind}…" if self.at + _AROUND < len(line) else behind
        wide = sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in before)
        return FilterError(f"filter, character {self.at + 1}: {message}\n    {before}{behind}\n    {' ' * wide}^")


NOWHERE = Place("filter")


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value[: 2 * _LONGEST_SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def near(name: str, names: Collection[str], what: str) -> str:
    """Of some names those that one may have been meant to be; else all of them, if they are not too many."""
    close = get_close_matches(name, names, 3, 0.6)
    if close:
        return f"did you mean {' or '.join(map(shown, close))}?"
    if not names:
        return f"there are no {what}"
    listed = sorted(names)
    more = f" and {len(listed) - _FIELDS_SHOWN:,} more" if len(listed) > _FIELDS_SHOWN else ""
    return f"{what} are {', '.join(map(shown, listed[:_FIELDS_SHOWN]))}{more}"
