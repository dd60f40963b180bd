"""Boundaries: where paragraphs and sentences of a text end.

Imports sentencex, on use: rules and abbreviations for some hundred languages, Wikimedia's. Invariant: places are offsets into
the text as it was given, ascending, and behind the last character that is no white space of what ends there.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*|\u2029\s*")
_LANGUAGE = "en"
"""Whose abbreviations count where no language is known; terminators of all scripts end a sentence in any."""

_logger = logging.getLogger("m3search")


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Ends within one text; the text's own end is none of them.

    Attributes:
        paragraphs: i64[p], places before which a paragraph ends.
        sentences: i64[s], places before which a sentence ends; a paragraph's end is one too.
    """

    paragraphs: NDArray[np.int64]
    sentences: NDArray[np.int64]

    @classmethod
    def of(cls, text: str, language: str | None = None) -> Self:
        """Those of a text in any language; `language` is a code such as "de" where it is known."""
        blanks = [match.span() for match in _BLANK_LINE.finditer(text)]
        paragraphs = [start for start, _ in blanks]
        sentences = []
        starts, stops = [0, *(stop for _, stop in blanks)], [*paragraphs, len(text)]
        for start, stop in zip(starts, stops, strict=True):
            at = start
            for sentence in sentences_of(text[start:stop].translate(_spaces()), language or _LANGUAGE):
                sentences.append(at + len(sentence.rstrip()))
                at += len(sentence)
        return cls(_within(paragraphs, text), _within(paragraphs + sentences, text))


def sentences_of(text: str, language: str) -> list[str]:
    """A text in parts that end where sentences do, and that make it up; the whole text where the library gives up on it."""
    from sentencex import segment

    try:
        return list(segment(language, text))
    except BaseException as error:
        # the library is compiled; where it runs into a fault of its own, that is no Exception
        if type(error).__name__ != "PanicException":
            raise
        _logger.warning("m3search cannot tell sentences apart in a text that begins %r: %s", text[:60], error)
        return [text]


@cache
def _spaces() -> dict[int, str]:
    """White space beyond ASCII as plain spaces: next to some, sentencex 1.0 fails where an initial ends a sentence."""
    return {code: " " for code in range(0x80, 0x3001) if chr(code).isspace()}


def _within(places: list[int], text: str) -> NDArray[np.int64]:
    """Ascending, once each, without the text's begin and end."""
    end = len(text.rstrip())
    return np.array(sorted({place for place in places if 0 < place < end}), np.int64)
