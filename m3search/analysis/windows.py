"""Windows: a text's tokens in stretches that a reader would cut it into.

Imports boundaries. Invariant: a window has no more tokens than there is room for, except where tokens cannot be parted:
those of one character. Together the windows hold every token, and each goes on beyond the one before it.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from m3search.analysis.boundaries import Boundaries

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILLED = 0.5  # share of the room that a window has at least, before it ends within a paragraph, or within a sentence
_JOINER = "\u200d"
_SKIN_TONES = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")


class Windows:
    """Where a text may be cut: before tokens that begin with a character of their own.

    Args:
        text: any.
        tokens: i64[t, 2], the characters of each token.
        by: "paragraph", "sentence" or "word", see `m3search.records.Passages`.
        language: code of the text's language where it is known.
    """

    def __init__(self, text: str, tokens: NDArray[np.int64], by: str, language: str | None = None) -> None:
        self._text = text
        self._tokens = tokens
        whole_before = tokens[1:, 0] >= np.maximum.accumulate(tokens[:, 1])[:-1]
        self._cuts = np.flatnonzero(whole_before) + 1
        self._preferred: list[NDArray[np.int64]] = []  # tokens before which something ends, the coarsest first
        if by != "word" and len(tokens):
            ends = Boundaries.of(text, language)
            kinds = (ends.paragraphs, ends.sentences) if by == "paragraph" else (ends.sentences,)
            self._preferred = [self._at(places) for places in kinds]

    def _at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first token behind each place, if the text can be cut there."""
        starts = np.maximum.accumulate(self._tokens[:, 0])
        return np.intersect1d(np.searchsorted(starts, places), self._cuts)

    def spans(self, room: int, overlap: int = 0) -> list[tuple[int, int]]:
        """Character spans of consecutive windows of at most `room` tokens; none is empty.

        Args:
            room: tokens of a window, at least 1.
            overlap: tokens that a window repeats of the one before it at most, at most half the room.
        """
        pairs, start, stop = [], 0, 0
        while start + room < len(self._tokens):
            stop = self._end(start, stop, room)
            if stop == len(self._tokens):
                break
            pairs.append((start, stop))
            start = self._repeated(stop, overlap) if overlap else stop
        pairs.append((start, len(self._tokens)))
        # characters without a token of their own belong to the window before them, the first ones to the first
        places = [0, *self._tokens[1:, 0].tolist(), len(self._text)]
        spans, end = [], 0
        for first, last in pairs:
            span = _stripped(self._text, places[first], places[last])
            if span[1] > max(span[0], end):  # else there was only white space, or nothing that was not there before
                spans.append(span)
                end = span[1]
        return spans

    def _end(self, start: int, before: int, room: int) -> int:
        """The token before which a window ends that begins at `start`; it goes on beyond the one that ended at `before`."""
        least = max(start + int(_FILLED * room), before)
        for ends in self._preferred:
            place = np.searchsorted(ends, start + room, side="right")
            if place and ends[place - 1] > least:
                return int(ends[place - 1])
        first, last = np.searchsorted(self._cuts, [max(start, before), start + room], side="right")
        if first == last:  # one character has more tokens than there is room for
            return int(self._cuts[last]) if last < len(self._cuts) else len(self._tokens)
        return self._best(self._cuts[first:last][::-1])

    def _repeated(self, stop: int, overlap: int) -> int:
        """The token that the window begins with behind one that ended before `stop`."""
        for ends in self._preferred[::-1]:
            place = np.searchsorted(ends, stop - overlap)
            if place < len(ends) and ends[place] < stop:
                return int(ends[place])
        first, last = np.searchsorted(self._cuts, [stop - overlap, stop])
        return self._best(self._cuts[first:last]) if first < last else stop

    def _best(self, cuts: NDArray[np.intp]) -> int:
        """The first of these tokens before which a word ends, or at least what a reader takes for one character."""
        for ends in (_word_ends, _character_ends):
            for place in cuts:
                if ends(self._text, int(self._tokens[place, 0])):
                    return int(place)
        return int(cuts[0])


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
