"""JointLoop: the compiled loops behind `joint`: candidates of several legs, narrowed and completed.

Imports numba and its neighbours. Scores come from the same routines as the legs' own. Invariant: what planning's `Narrowing`
does leg by leg and array by array, passage for passage and bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import carray

from m3search.retrieval.addresses import WIDTH, pointer, rows_at
from m3search.retrieval.compiling import borrowing, compiled
from m3search.retrieval.field_search import look_up, weighing
from m3search.retrieval.forward import Saturation, score_frequencies, score_weights
from m3search.retrieval.joint import FEW, KINDS
from m3search.retrieval.products import score_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEXICAL, BM25, DENSE = (KINDS[leg] for leg in ("lexical", "bm25", "dense"))
_FEW = tuple(FEW.values())
_OF_QUERY, _OF_LEG = 5, 7  # figures

NOWHERE = np.empty((0, WIDTH), np.int64)
"""The rows of a field that is not asked."""


@compiled
def complete_candidates(
    first: NDArray[np.int64],
    first_scores: NDArray[np.float64],
    second: NDArray[np.int64],
    second_scores: NDArray[np.float64],
    third: NDArray[np.int64],
    third_scores: NDArray[np.float64],
    figures: NDArray[np.float64],
    documents: int,
    earlier: NDArray[np.int64],
    earlier_scores: NDArray[np.float64],
    segments: NDArray[np.int64],
    collapse: bool,
    vector: NDArray[np.float64],
    lexical: NDArray[np.int64],
    tokens: NDArray[np.uint32],
    token_weights: NDArray[np.float64],
    bm25: NDArray[np.int64],
    term_numbers: NDArray[np.int64],
    term_weights: NDArray[np.float64],
) -> tuple[
    int,
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
]:
    """Those that can be among the best: docids i64[c] ascending, parents i64[c], exact scores f64[l, c], blends f64[c].

    Before them comes how many candidates there were; behind them positions i64[b] of the best passages of the best documents,
    by (-blend, docid), and of all that tie with the last of these; and i64[l], how many scores were computed. Where no leg is
    dense, what scores 0 does not match and is left out.

    Args:
        first: i64[any], docids that the first leg proposes, each once.
        first_scores: f64[any], theirs.
        second: of the second leg, and so on; empty where there are not so many.
        second_scores: see there.
        third: see there.
        third_scores: see there.
        figures: f64[5 + 7 l]: the sum of the weights; of BM25 k1, b, the average length and what its sums are divided by; for
            each leg its weight, its kind (`LEXICAL`, `BM25` or `DENSE`), and a `Claim`. The legs come in the order in which a
            blend is added up.
        documents: how many are wanted.
        earlier: i64[e], docids whose scores are known.
        earlier_scores: f64[l, e].
        segments: i64[s, 5], by ascending base: base, passages, and the addresses of the vectors, of each passage's document
            i64[n], and of where a document's passages begin, i64[d + 1]; the last two are 0 where documents are passages.
        collapse: whether a document counts once, as its best passage.
        vector: f64[dim]; empty: a query without one.
        lexical: i64[s, w], rows of `field_addresses`; no rows without that leg.
        tokens: u32[q], ascending.
        token_weights: f64[q].
        bm25: like `lexical`.
        term_numbers: i64[s, q].
        term_weights: f64[q].
    """
    of_legs = figures[_OF_QUERY:].reshape(-1, _OF_LEG)
    total, saturation, divisor = figures[0], Saturation(figures[1], figures[2], figures[3]), figures[4]
    weights, kinds = of_legs[:, 0].copy(), of_legs[:, 1].astype(np.int64)
    ends = np.array([0, len(first), len(first) + len(second), len(first) + len(second) + len(third)])
    proposed, given = np.empty(ends[3], np.int64), np.empty(ends[3])
    proposed[: ends[1]], proposed[ends[1] : ends[2]], proposed[ends[2] :] = first, second, third
    given[: ends[1]], given[ends[1] : ends[2]], given[ends[2] :] = first_scores, second_scores, third_scores
    docids, places = np.empty(ends[3], np.int64), np.empty(ends[3], np.int64)
    candidates = count = _unite(proposed, docids, places)
    docids = docids[:count]
    parents = docids.copy()
    if collapse:
        _find_parents(docids, segments, parents)
    least, most, known = _claimed(count, places, given, ends, of_legs[:, 2:])
    for at in range(len(earlier)):
        place = np.searchsorted(docids, earlier[at])
        if place < count and docids[place] == earlier[at]:
            least[:, place] = most[:, place] = earlier_scores[:, at]
            known[:, place] = True
    rows, found = np.empty(count, np.int64), np.empty(count)
    completed = np.zeros(len(kinds), np.int64)
    for leg in np.argsort(kinds):
        kind = kinds[leg]
        if count - known[leg, :count].sum() > _FEW[kind]:
            count = _drop(docids, parents, least, most, known, count, weights, total, documents)
        start = 0
        for place in range(len(segments)):
            base, size, vectors = segments[place, 0], segments[place, 1], segments[place, 2]
            stop, missing = _unknown(docids[:count], known[leg], start, base, size, rows)
            scores, start = found[:missing], stop
            if missing == 0:
                continue
            if kind == LEXICAL:
                _score_lexical(lexical[place], tokens, token_weights, rows[:missing], scores)
            elif kind == BM25:
                own, own_weights = weighing(term_numbers[place], term_weights)
                passages = rows[:missing].astype(np.uint32)
                score_frequencies(passages, own, own_weights, rows_at(bm25[place]), saturation, scores)
                scores /= divisor
            elif len(vector):
                matrix = carray(pointer(vectors, np.float32), (size * len(vector),))
                score_rows(vector, matrix, size, rows[:missing], scores, False)
            else:
                scores[:] = 0.0
            completed[leg] += missing
            for number in range(missing):
                at = np.searchsorted(docids[:count], rows[number] + base)
                least[leg, at] = most[leg, at] = scores[number]
                known[leg, at] = True
    blends = np.empty(count)
    count = _blended(docids, parents, least, blends, weights, total, DENSE not in kinds)
    best = _best(blends[:count], parents, documents)
    return candidates, docids[:count], parents[:count], least[:, :count], blends[:count], best, completed


@compiled
def _unite(proposed: NDArray[np.int64], docids: NDArray[np.int64], places: NDArray[np.int64]) -> int:
    """Writes all docids i64[n], once each and ascending, and i64[m] where each proposal is among them; how many they are."""
    order = np.argsort(proposed, kind="mergesort")
    count = 0
    for at in order:
        if count == 0 or docids[count - 1] != proposed[at]:
            docids[count] = proposed[at]
            count += 1
        places[at] = count - 1
    return count


@compiled
def _find_parents(docids: NDArray[np.int64], segments: NDArray[np.int64], parents: NDArray[np.int64]) -> None:
    """Writes the first passage of each passage's document; docids are ascending."""
    place = 0
    for at in range(len(docids)):
        while place < len(segments) - 1 and docids[at] >= segments[place, 0] + segments[place, 1]:
            place += 1
        base, size = segments[place, 0], segments[place, 1]
        if segments[place, 3]:
            owners = carray(pointer(segments[place, 3], np.int64), (size,))
            starts = carray(pointer(segments[place, 4], np.int64), (size + 1,))  # documents are not more
            parents[at] = starts[owners[docids[at] - base]] + base


@compiled
def _blended(
    docids: NDArray[np.int64],
    parents: NDArray[np.int64],
    scores: NDArray[np.float64],
    blends: NDArray[np.float64],
    weights: NDArray[np.float64],
    total: float,
    matches_only: bool,
) -> int:
    """Writes the blends, and leaves out those of 0 if only matches are wanted; how many are left."""
    kept = 0
    for at in range(len(blends)):
        blend = _blend(scores, at, weights, total)
        if blend > 0 or not matches_only:
            docids[kept], parents[kept], blends[kept] = docids[at], parents[at], blend
            scores[:, kept] = scores[:, at]
            kept += 1
    return kept


@compiled
def _best(blends: NDArray[np.float64], parents: NDArray[np.int64], documents: int) -> NDArray[np.int64]:
    """Positions of the first best passage of each of the best documents, and of those that tie with the last."""
    first, scores, groups = np.empty(len(blends), np.int64), np.empty(len(blends)), 0
    for at in range(len(blends)):
        if at == 0 or parents[at] != parents[at - 1]:
            first[groups], scores[groups] = at, -blends[at]
            groups += 1
        elif -blends[at] < scores[groups - 1]:
            first[groups - 1], scores[groups - 1] = at, -blends[at]
    first, scores = first[:groups], scores[:groups]
    if groups > documents:
        enough = scores <= np.partition(scores, documents - 1)[documents - 1]
        first, scores = first[enough], scores[enough]
    # documents that tie come by docid already, for what is of one document lies together
    return first[np.argsort(scores, kind="mergesort")]


@compiled
def _claimed(
    count: int,
    places: NDArray[np.int64],
    given: NDArray[np.float64],
    ends: NDArray[np.int64],
    claims: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What the legs say of each candidate: the least, the most that it can score, and whether that is what it scores."""
    legs = len(claims)
    least, most, known = np.empty((legs, count)), np.empty((legs, count)), np.empty((legs, count), np.bool_)
    for leg in range(legs):
        bound, floor, slack, exact, silent = claims[leg]
        least[leg], most[leg], known[leg] = floor, max(bound, floor), silent > 0
        for at in range(ends[leg], ends[leg + 1]):
            place, score = places[at], given[at]
            least[leg, place] = score if exact else -np.nextafter(slack - score, np.inf)
            most[leg, place] = score if exact else np.nextafter(score + slack, np.inf)
            known[leg, place] = exact > 0
    return least, most, known


@compiled
def _unknown(
    docids: NDArray[np.int64],
    known: NDArray[np.bool_],
    start: int,
    base: int,
    size: int,
    rows: NDArray[np.int64],
) -> tuple[int, int]:
    """Writes the numbers in a segment of those that are not known; where the next segment's begin, and how many they are."""
    missing = 0
    while start < len(docids) and docids[start] < base + size:
        if not known[start]:
            rows[missing] = docids[start] - base
            missing += 1
        start += 1
    return start, missing


@compiled
def _score_lexical(
    segment: NDArray[np.int64],
    tokens: NDArray[np.uint32],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    stored, numbers = rows_at(segment), np.empty(len(tokens), np.int64)
    look_up(tokens, stored.tokens, numbers)
    own, own_weights = weighing(numbers, weights)
    score_weights(rows.astype(np.uint32), own, own_weights, stored, scores)


@compiled
def _drop(
    docids: NDArray[np.int64],
    parents: NDArray[np.int64],
    least: NDArray[np.float64],
    most: NDArray[np.float64],
    known: NDArray[np.bool_],
    count: int,
    weights: NDArray[np.float64],
    total: float,
    documents: int,
) -> int:
    """Moves those up front that score as much, at most, as `documents` documents score at least; how many they are."""
    best, groups = np.empty(count), 0
    for at in range(count):
        score = _blend(least, at, weights, total)
        if at == 0 or parents[at] != parents[at - 1]:
            best[groups] = score
            groups += 1
        elif score > best[groups - 1]:
            best[groups - 1] = score
    if groups <= documents:
        return count
    enough = np.partition(best[:groups], groups - documents)[groups - documents]
    kept = 0
    for at in range(count):
        if _blend(most, at, weights, total) >= enough:
            docids[kept], parents[kept] = docids[at], parents[at]
            for leg in range(len(weights)):
                least[leg, kept], most[leg, kept], known[leg, kept] = least[leg, at], most[leg, at], known[leg, at]
            kept += 1
    return kept


@borrowing
def _blend(scores: NDArray[np.float64], at: int, weights: NDArray[np.float64], total: float) -> float:
    """As planning's `blend` adds it up."""
    blend = 0.0
    for leg in range(len(weights)):
        blend += weights[leg] * scores[leg, at]
    return blend / total
