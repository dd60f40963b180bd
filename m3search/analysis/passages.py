"""Passages: a document as pieces that an encoder takes whole.

Owns the cutting; imports records only, and is handed the tokenizer. Invariant: every character of a document's text lies in
a passage unless it is white space between two, spans are exact offsets into the text, and no passage has more tokens than
there is room for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.records import Document

TokenSpans = Callable[[Sequence[str]], "list[NDArray[np.int64]]"]
"""Texts -> per text i64[t, 2], the characters of each ordinary token; an encoder's `token_spans`."""

_STEP = 8  # tokens by which a window shrinks when title and text together tokenize longer than apart


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
    # a token is a character at least but for what normalisation expands, which half the room allows for
    long = [row for row, found in enumerate(passages) if found and len(found[0].content) > room // 2]
    counts = token_spans([passages[row][0].content for row in long])
    for row, spans in zip(long, counts, strict=True):
        if len(spans) > room:
            passages[row] = _cut(documents[row], room, token_spans)
    return passages


def _cut(document: Document, room: int, token_spans: TokenSpans) -> list[Passage]:
    title, text = token_spans([document.title, document.text])
    prefix, passages, left = "", [], room
    if len(title) > room // 2:
        passages = [Passage((0, 0), document.title[slice(*span)]) for span in _windows(document.title, title, room)]
    elif document.title.strip():
        prefix, left = f"{document.title}\n", room - len(title)
    while True:
        cut = [Passage(span, prefix + document.text[slice(*span)]) for span in _windows(document.text, text, left)]
        lengths = [len(spans) for spans in token_spans([passage.content for passage in cut])]
        if max(lengths, default=0) <= room or left == 1:
            return passages + cut
        left = max(1, left - _STEP)


def _windows(text: str, tokens: NDArray[np.int64], room: int) -> list[tuple[int, int]]:
    """Character spans of consecutive windows of at most `room` tokens, which end where a word does if one does."""
    spans, start = [], 0
    while start < len(tokens):
        stop = min(start + room, len(tokens))
        if stop < len(tokens):
            ends = [at for at in range(stop, start, -1) if _word_ends(text, int(tokens[at - 1, 1]), int(tokens[at, 0]))]
            stop = ends[0] if ends else stop
        spans.append((int(tokens[start, 0]), int(tokens[stop - 1, 1])))
        start = stop
    if spans:  # characters without a token of their own belong to the window before them, the first ones to the first
        starts = [0, *(start for start, _ in spans[1:])]
        ends = [*starts[1:], len(text)]
        spans = [_stripped(text, start, end) for start, end in zip(starts, ends, strict=True)]
    return spans


def _word_ends(text: str, end: int, following: int) -> bool:
    return following > end or text[end - 1 : end].isspace() or text[following : following + 1].isspace()


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
