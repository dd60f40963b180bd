"""Passages: a document as pieces that an encoder takes whole.

Owns the cutting; imports records only, and is handed the tokenizer. Invariant: every character of a document's text lies in
a passage unless it is white space between two, spans are exact offsets into the text, no passage is empty, and none has more
tokens than there is room for, except where tokens cannot be parted: those of one character, or of a character and the space
that a tokenizer puts before a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Document

TokenSpans = Callable[[Sequence[str]], "list[NDArray[np.int64]]"]
"""Texts -> per text i64[t, 2], the characters of each ordinary token; an encoder's `token_spans`."""

_STEP = 8  # tokens by which large windows shrink at least where title and text together tokenize longer than apart
_EXPANSION = 18  # characters that Unicode's normalisation makes of one at most (U+FDFA), and each may become a token
_JOINER = "\u200d"
_SKIN_TONES = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")


@dataclass(frozen=True, slots=True)
class Passage:
    """A scored unit.

    Attributes:
        span: first character and one past the last in the document's text.
        content: what encoder and BM25 see: the title, a new line, that part of the text.
    """

    span: tuple[int, int]
    content: str


def whole(document: Document) -> list[Passage]:
    """The document as one passage; none where there is neither title nor text."""
    return [Passage((0, len(document.text)), document.content)] if document.content.strip() else []


def split(documents: Sequence[Document], room: int, token_spans: TokenSpans) -> list[list[Passage]]:
    """Every document's passages, cut at word ends where it is longer than `room` tokens.

    The title stands before every passage if it takes at most half the room; a longer title is cut into passages of its
    own, which lie at the text's beginning.

    Args:
        documents: any.
        room: ordinary tokens that one passage may have, at least 1.
        token_spans: see `TokenSpans`.
    """
    passages = [whole(document) for document in documents]
    long = [row for row, found in enumerate(passages) if found and _may_exceed(found[0].content, room)]
    counts = token_spans([passages[row][0].content for row in long])
    for row, spans in zip(long, counts, strict=True):
        if len(spans) > room:
            passages[row] = _cut(documents[row], room, token_spans)
    return passages


def _may_exceed(content: str, room: int) -> bool:
    """Whether a text could have more tokens than `room`; spares the short ones being tokenized twice."""
    # a space that a tokenizer puts before a word may be a token too
    return len(content) > room // (2 if content.isascii() else _EXPANSION)


def _cut(document: Document, room: int, token_spans: TokenSpans) -> list[Passage]:
    title, text = token_spans([document.title, document.text])
    passages = []
    prefix, left = "", room
    if len(title) > room // 2:
        cut = _fitting(document.title, title, room, room, "", token_spans)
        passages = [Passage((0, 0), document.title[slice(*span)]) for span in cut]
    elif document.title.strip():
        prefix, left = f"{document.title}\n", room - len(title)
    cut = _fitting(document.text, text, left, room, prefix, token_spans)
    return passages + [Passage(span, prefix + document.text[slice(*span)]) for span in cut]


def _fitting(
    text: str, tokens: NDArray[np.int64], left: int, room: int, prefix: str, token_spans: TokenSpans
) -> list[tuple[int, int]]:
    """Windows of at most `left` tokens, or of fewer where that makes more than `room` of prefix and window together."""
    while True:
        spans = _windows(text, tokens, left)
        longest = max(map(len, token_spans([prefix + text[start:end] for start, end in spans])), default=0)
        if longest <= room or left == 1:
            return spans
        left = max(1, left - max(longest - room, min(_STEP, left // 32)))


def _windows(text: str, tokens: NDArray[np.int64], room: int) -> list[tuple[int, int]]:
    """Character spans of consecutive windows of at most `room` tokens, which end where a word does if one does.

    Where none ends, not before a mark or within a joined emoji if that can be; never within a character, which may be
    several tokens and then more than `room`.
    """
    starts, place = [0], 0
    whole_before = tokens[1:, 0] >= np.maximum.accumulate(tokens[:, 1])[:-1]
    cuts = np.flatnonzero(whole_before) + 1  # the tokens that begin with a character of their own
    while place + room < len(tokens):
        first, stop = np.searchsorted(cuts, [place, place + room], side="right")
        if stop == len(cuts) and first == stop:
            break
        place = _best_cut(text, tokens, cuts[first : max(stop, first + 1)])
        starts.append(int(tokens[place, 0]))
    # characters without a token of their own belong to the window before them, the first ones to the first
    spans = [_stripped(text, start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [(start, end) for start, end in spans if start < end]


def _best_cut(text: str, tokens: NDArray[np.int64], cuts: NDArray[np.intp]) -> int:
    """The last token before which a word ends, or at least what a reader takes for one character."""
    for ends in (_word_ends, _character_ends):
        for place in cuts[::-1]:
            if ends(text, int(tokens[place, 0])):
                return int(place)
    return int(cuts[-1])


def _word_ends(text: str, place: int) -> bool:
    return text[place - 1].isspace() or text[place].isspace()


def _character_ends(text: str, place: int) -> bool:
    """Whether what a reader takes for one character ends before this place."""
    joined = text[place - 1] == _JOINER or text[place] == _JOINER or text[place] in _SKIN_TONES
    return not joined and not unicodedata.category(text[place]).startswith("M")


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
