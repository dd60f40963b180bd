"""Snippets: which words of a passage counted in a hit's score, and the piece of it that has most of them.

Imports analysis and retrieval's matches. Made when a user looks at one, a passage at a time. Invariant: what is marked is a
word with a term, or a token, that the query has too and that adds to the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from m3search.analysis.analyzer import Analyzer, word_spans
from m3search.records import Snippet
from m3search.records.snippet import LENGTH
from m3search.retrieval.matches import bm25_matches, lexical_matches

if TYPE_CHECKING:
    from m3search.planning.explanation import Spelling
    from m3search.retrieval import Query
    from m3search.storage import Segment, Snapshot

_AGAIN = 0.2  # what a word counts that stands in the piece already


class _Word(NamedTuple):
    """What counted at a place of the passage."""

    start: int
    stop: int
    what: str | int
    adds: float


def snippet_of(
    passage: str,
    start: int,
    query: Query | None,
    weights: Mapping[str, float],
    snapshot: Snapshot,
    segment: Segment,
    row: int,
    spelling: Spelling | None,
) -> Snippet:
    """The piece of a passage that counted most; its beginning where no word did.

    Args:
        passage: its text.
        start: the place of its first character in the document.
        query: what was asked; None where nothing was.
        weights: of the legs.
        snapshot: where it is.
        segment: its segment.
        row: its number there.
        spelling: how the encoder's tokens are written; None: only BM25's terms are marked.
    """
    words: list[_Word] = []
    if query is not None and "bm25" in weights:
        adds = {str(one.token): one.product * weights["bm25"] for one in bm25_matches(query, snapshot, segment, row)}
        settings = snapshot.manifest.config.bm25
        assert settings is not None
        words += _terms(passage, adds, Analyzer.from_dict(settings["analyzer"]))
    if query is not None and "lexical" in weights and spelling is not None:
        tokens = {int(one.token): one.product * weights["lexical"] for one in lexical_matches(query, segment, row)}
        words += _tokens(passage, tokens, spelling)
    words.sort(key=lambda word: (word.start, word.stop))
    first, last = _piece(passage, words)
    inside = [(word.start - first, word.stop - first) for word in words if first <= word.start and word.stop <= last]
    cut = (bool(passage[:first].strip()), bool(passage[last:].strip()))
    return Snippet(passage[first:last], (start + first, start + last), _apart(inside), cut)


def _terms(passage: str, adds: Mapping[str, float], analyzer: Analyzer) -> Iterator[_Word]:
    """Words whose terms counted; of a script without spaces, pairs of letters."""
    if not adds:
        return
    (spans,) = word_spans([passage])
    places = spans.tolist()
    for number, (start, stop) in enumerate(places):
        ends = [stop]
        if number + 1 < len(places) and places[number + 1][0] == stop:  # letters of a script without spaces
            ends.append(places[number + 1][1])
        for end in ends:
            for term in analyzer.terms(passage[start:end]):
                if term in adds:
                    yield _Word(start, end, term, adds[term])


def _tokens(passage: str, adds: Mapping[int, float], spelling: Spelling) -> Iterator[_Word]:
    """The encoder's tokens that counted, without the space that some begin with."""
    if not adds:
        return
    ((ids, spans),) = spelling.tokens([passage])
    for token, (start, stop) in zip(ids.tolist(), spans.tolist(), strict=True):
        written = passage[start:stop]
        if token in adds and written.strip():
            yield _Word(start + len(written) - len(written.lstrip()), stop, token, adds[token])


def _piece(passage: str, words: Sequence[_Word]) -> tuple[int, int]:
    """The piece in which the most counted; among equals the first."""
    if len(passage) <= LENGTH:
        return 0, len(passage)
    best, middle, stop = 0.0, 0, 0
    for first, word in enumerate(words):
        seen: set[str | int] = set()
        total = 0.0
        for other in words[first:]:
            if other.stop > word.start + LENGTH:
                break
            total += other.adds * (_AGAIN if other.what in seen else 1)
            seen.add(other.what)
            stop = other.stop if total > best else stop
        if total > best:
            best, middle = total, word.start
    room = max(0, LENGTH - (stop - middle)) // 2 if best else 0
    first = max(0, min(middle - room, len(passage) - LENGTH))
    return _at_words(passage, first, min(len(passage), first + LENGTH), (middle, max(stop, middle)))


def _at_words(passage: str, first: int, last: int, kept: tuple[int, int]) -> tuple[int, int]:
    """The same piece without the half words at its ends, as long as what is to be kept stays whole."""
    if first and not passage[first - 1].isspace():
        space = next((at for at in range(first, kept[0]) if passage[at].isspace()), None)
        first = first if space is None else space + 1
    if last < len(passage) and not passage[last].isspace():
        space = next((at for at in range(last - 1, max(kept[1], first), -1) if passage[at].isspace()), None)
        last = last if space is None else space
    return first, last


def _apart(marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places that overlap or touch, as one."""
    made: list[tuple[int, int]] = []
    for start, stop in marks:
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], stop))
        else:
            made.append((start, stop))
    return made
