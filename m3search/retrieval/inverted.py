"""Inverted search: what the lexical and the BM25 leg have in common, on top of the compiled loops.

Imports storage's readers and the loops. Invariant: what it returns are exact scores, by the same arithmetic as completion's,
and no passage that is left out has a higher one than the last that is returned.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.records import Candidates
from m3search.retrieval.addresses import WIDTH, field_addresses
from m3search.retrieval.field_search import find_tokens, score_passages, search_field
from m3search.retrieval.scratch import scratch_for
from m3search.storage import BLOCK, RANKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.retrieval.leg import Allowed
    from m3search.storage import Snapshot

NO_TOKENS = np.empty(0, np.uint32)
_WORD = BLOCK // 8  # bytes
_RANK_OF = (*range(len(RANKS)), -1)
_UNCHANGED = np.empty(0)


class Terms(NamedTuple):
    """A query's terms, as the loops take them.

    Attributes:
        weights: f64[q] >= 0.
        tokens: u32[q], ascending; empty: `numbers` says already where the terms stand.
        numbers: i64[s, q], the terms' numbers in each segment, -1 of one that it does not have.
        changes: f64[s], what a posting adds now lies between this times what was stored, and what was stored; empty: all 1.
        k1: of BM25, and so are the next two.
        b: how much the length counts, 0 to 1.
        average: mean number of terms in a live passage, above 0.
    """

    weights: NDArray[np.float64]
    tokens: NDArray[np.uint32]
    numbers: NDArray[np.int64]
    changes: NDArray[np.float64] = _UNCHANGED
    k1: float = 0.0
    b: float = 0.0
    average: float = 1.0


def search_inverted(field: str, snapshot: Snapshot, terms: Terms, allowed: Allowed, depth: int) -> Candidates:
    """The best `depth` of all segments; nothing that is left out exceeds the last of them, and what does not match scores 0.

    Args:
        field: "lexical" or "bm25".
        snapshot: what is searched.
        terms: of the query.
        allowed: as legs get it.
        depth: how many are wanted.
    """
    segments = addresses(field, snapshot)
    words: list[NDArray[np.uint64] | None] = []  # held until the loop is done
    if any(some is not None for some in allowed):
        words = [None if some is None else _words(some) for some in allowed]
    bitmaps = np.array([0 if some is None else some.ctypes.data for some in words], np.int64)
    docids, scores, read = search_field(
        segments,
        terms.tokens,
        terms.numbers,
        terms.weights,
        bitmaps,
        terms.changes,
        depth,
        _RANK_OF[bisect_left(RANKS, depth)],
        terms.k1,
        terms.b,
        terms.average,
        scratch_for(snapshot.largest_segment, len(terms.weights)),
    )
    bound = float(scores[-1]) if len(scores) == depth else 0.0
    return Candidates(docids, scores, bound, postings=read, exact=True)


def score_inverted(field: str, snapshot: Snapshot, terms: Terms, docids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact scores f64[n] of passages i64[n]."""
    segments = addresses(field, snapshot)
    numbers = {segment.info.uuid: position for position, segment in enumerate(snapshot.segments)}
    scores = np.empty(len(docids))
    for segment, positions, rows in snapshot.split(docids):
        place = numbers[segment.info.uuid]
        if len(terms.tokens):
            find_tokens(segments[place], terms.tokens, terms.numbers[place])
        scores[positions] = score_passages(
            segments[place],
            rows.astype(np.uint32),
            terms.numbers[place],
            terms.weights,
            terms.k1,
            terms.b,
            terms.average,
        )
    return scores


def addresses(field: str, snapshot: Snapshot) -> NDArray[np.int64]:
    """Where the arrays of a field lie: i64[s, w], a row for each segment."""
    rows = snapshot.addresses.get(field)
    if rows is None:
        rows = np.array([field_addresses(one, field) for one in snapshot.segments], np.int64).reshape(-1, WIDTH)
        snapshot.addresses[field] = rows
    return rows


def _words(bitmap: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One word a block, the last filled up with zeros."""
    words = np.zeros(-(-len(bitmap) // _WORD) * _WORD, np.uint8)
    words[: len(bitmap)] = bitmap
    return words.view("<u8").astype(np.uint64, copy=False)
