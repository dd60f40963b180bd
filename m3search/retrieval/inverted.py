"""Inverted search: what the lexical and the BM25 leg have in common, on top of the compiled loops.

Imports storage's readers, and the loops when they are first asked: to load numba takes longer than to open an index. Invariant:
what it returns are exact scores, by the same arithmetic as completion's, and no passage that is left out has a higher one than
the last that is returned.

Between other work a processor forgets whatever a search runs through, and Python's part of that is larger than the loops': so
little is made and called here for a query.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.scratch import scratch_for
from m3search.storage import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.retrieval.terms import Terms
    from m3search.storage import Snapshot

_WORD = BLOCK // 8  # bytes
_ALL_ALLOWED = np.empty(0, np.int64)


@cache
def _loops() -> Any:  # noqa: ANN401 - a module
    from m3search.retrieval import field_search

    return field_search


def search_inverted(field: str, snapshot: Snapshot, terms: Terms, allowed: Allowed, depth: int) -> Candidates:
    """The best `depth` of all segments; nothing that is left out exceeds the last of them, and what does not match scores 0.

    Args:
        field: "lexical" or "bm25".
        snapshot: what is searched.
        terms: of the query.
        allowed: as legs get it.
        depth: how many are wanted.
    """
    bitmaps, words = _ALL_ALLOWED, None  # the latter are held until the loop is done
    for some in allowed:
        if some is not None:
            words = [None if one is None else _words(one) for one in allowed]
            bitmaps = np.array([0 if one is None else one.ctypes.data for one in words], np.int64)
            break
    docids, scores, bound, read = _loops().search_field(
        addresses(field, snapshot),
        terms.tokens,
        terms.numbers,
        terms.weights,
        bitmaps,
        terms.changes,
        depth,
        terms.k1,
        terms.b,
        terms.average,
        scratch_for(snapshot.largest_segment, len(terms.weights)),
    )
    del words
    return Candidates(docids, scores, bound, 0.0, read, 0, True)


def score_inverted(field: str, snapshot: Snapshot, terms: Terms, docids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact scores f64[n] of passages i64[n]."""
    if not len(terms.weights):
        return np.zeros(len(docids))
    loops, segments = _loops(), addresses(field, snapshot)
    places = {segment.info.uuid: position for position, segment in enumerate(snapshot.segments)}
    scores = np.empty(len(docids))
    for segment, positions, rows in snapshot.split(docids):
        place = places[segment.info.uuid]
        if len(terms.tokens):
            numbers = np.empty(len(terms.tokens), np.int64)
            loops.find_tokens(segments[place], terms.tokens, numbers)
        else:
            numbers = terms.numbers[place]
        scores[positions] = loops.score_passages(
            segments[place], rows.astype(np.uint32), numbers, terms.weights, terms.k1, terms.b, terms.average
        )
    return scores


def addresses(field: str, snapshot: Snapshot) -> NDArray[np.int64]:
    """Where the arrays of a field lie: i64[s, w], a row for each segment."""
    rows = snapshot.addresses.get(field)
    if rows is None:
        from m3search.retrieval.addresses import WIDTH, field_addresses

        rows = np.array([field_addresses(one, field) for one in snapshot.segments], np.int64).reshape(-1, WIDTH)
        snapshot.addresses[field] = rows
    return rows


def _words(bitmap: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One word a block, the last filled up with zeros."""
    words = np.zeros(-(-len(bitmap) // _WORD) * _WORD, np.uint8)
    words[: len(bitmap)] = bitmap
    return words.view("<u8").astype(np.uint64, copy=False)
