"""Passages: a document as pieces that an encoder takes whole.

Owns the cutting; imports records only, and is handed the tokenizer. Invariant: every character of a document's text lies in
a passage unless it is white space between two, spans are exact offsets into the text, no passage is empty, and none has more
tokens than there is room for, except where tokens cannot be parted: those of one character, or of a character and the space
that a tokenizer puts before a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3search.analysis.windows import Windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from m3search.records import Document

TokenSpans = Callable[[Sequence[str]], "list[NDArray[np.int64]]"]
"""Texts -> per text i64[t, 2], the characters of each ordinary token; an encoder's `token_spans`."""

_STEP = 8  # tokens by which large windows shrink at least where title and text together tokenize longer than apart
_EXPANSION = 18  # characters that Unicode's normalisation makes of one at most (U+FDFA), and each may become a token


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


@dataclass(frozen=True, slots=True)
class Cutter:
    """How documents are cut.

    Attributes:
        room: tokens that one passage may have, at least 1.
        token_spans: see `TokenSpans`.
        overlap: tokens that a passage repeats of the one before it at most.
        by: see `m3search.records.Passages`.
        language: code of the texts' language where it is known: its abbreviations end no sentence.
    """

    room: int
    token_spans: TokenSpans
    overlap: int = 0
    by: str = "sentence"
    language: str | None = None

    def split(self, documents: Sequence[Document]) -> list[list[Passage]]:
        """Every document's passages; one that fits into the room stays whole.

        The title stands before every passage if it takes at most half the room; a longer title is cut into passages of its
        own, which lie at the text's beginning.
        """
        passages = [whole(document) for document in documents]
        long = [row for row, found in enumerate(passages) if found and self._may_exceed(found[0].content)]
        counts = self.token_spans([passages[row][0].content for row in long])
        for row, spans in zip(long, counts, strict=True):
            if len(spans) > self.room:
                passages[row] = self._cut(documents[row])
        return passages

    def _may_exceed(self, content: str) -> bool:
        """Whether a text could have more tokens than there is room for; spares the short ones being tokenized twice."""
        # a space that a tokenizer puts before a word may be a token too
        return len(content) > self.room // (2 if content.isascii() else _EXPANSION)

    def _cut(self, document: Document) -> list[Passage]:
        title, text = self.token_spans([document.title, document.text])
        passages = []
        prefix, left = "", self.room
        if len(title) > self.room // 2:
            windows = Windows(document.title, title, "word")
            cut = self._fitting(document.title, windows, self.room, "", 0)
            passages = [Passage((0, 0), document.title[slice(*span)]) for span in cut]
        elif document.title.strip():
            prefix, left = f"{document.title}\n", self.room - len(title)
        windows = Windows(document.text, text, self.by, self.language)
        cut = self._fitting(document.text, windows, left, prefix, self.overlap)
        return passages + [Passage(span, prefix + document.text[slice(*span)]) for span in cut]

    def _fitting(self, text: str, windows: Windows, left: int, prefix: str, overlap: int) -> list[tuple[int, int]]:
        """Windows of at most `left` tokens, or of fewer where that makes more of prefix and window than there is room for."""
        while True:
            spans = windows.spans(left, min(overlap, left // 2))
            longest = max(map(len, self.token_spans([prefix + text[start:end] for start, end in spans])), default=0)
            if longest <= self.room or left == 1:
                return spans
            left = max(1, left - max(longest - self.room, min(_STEP, left // 32)))
