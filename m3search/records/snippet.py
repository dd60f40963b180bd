"""Snippet: a piece of a passage with the words in it that counted."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Writer = Callable[[str], str]
_CUT = "…"

LENGTH = 240
"""Characters of a snippet, a word more or less."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a document's text; printed, it has its words between asterisks.

    Attributes:
        text: the piece, as it stands in the document.
        span: its place there, in characters.
        marks: places within `text` of what counted, ascending and apart.
        cut: whether the passage goes on before the piece, and behind it.
    """

    text: str
    span: tuple[int, int]
    marks: Sequence[tuple[int, int]] = ()
    cut: tuple[bool, bool] = (False, False)

    def marked(self, before: str = "**", after: str = "**") -> str:
        """The text in one line, what counted between two marks, and dots where the passage goes on."""
        return self._joined(before, after, lambda text: text)

    def html(self) -> str:
        """The same with ``<mark>``, everything else escaped."""
        return self._joined("<mark>", "</mark>", html.escape)

    def _joined(self, before: str, after: str, written: Writer) -> str:
        parts, place = [], 0
        for start, stop in self.marks:
            parts += [written(self.text[place:start]), before, written(self.text[start:stop]), after]
            place = stop
        parts.append(written(self.text[place:]))
        line = " ".join("".join(parts).split())
        return f"{_CUT if self.cut[0] else ''}{line}{_CUT if self.cut[1] else ''}"

    def __str__(self) -> str:
        return self.marked()
