"""Ranking: runs a plan: propose, complete, blend, collapse, certify or deepen, rerank.

Imports retrieval and storage's snapshot. Invariant: documents are ordered by (-score, id), and a document scores as its
best passage.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search import retrieval
from m3search.planning.blend import blend, blend_bound
from m3search.planning.certificate import Guarantee, certify
from m3search.planning.completion import complete
from m3search.storage import recall_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.planning.plan import Plan
    from m3search.retrieval import Allowed, Query
    from m3search.storage import Segment, Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class RankedDocument:
    """A document of a ranking.

    Attributes:
        id: the user's id.
        segment: where it lies.
        number: its number there.
        passage: docid of its best passage.
        score: the blend of `parts`.
        parts: leg -> exact score of the best passage.
    """

    id: str
    segment: Segment
    number: int
    passage: int
    score: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What a plan found.

    Attributes:
        documents: best first, at most k.
        guarantee: what is proven.
        bound: what no unseen passage exceeds in the first stage.
        kth_score: the first stage's score at the last rank that had to be settled; None with fewer documents.
        statistics: depths, postings, candidates and seconds.
    """

    documents: Sequence[RankedDocument]
    guarantee: Guarantee
    bound: float
    kth_score: float | None
    statistics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Pool:
    """Scored candidates: passages, their documents' keys, parts and blend."""

    docids: NDArray[np.int64]
    parts: dict[str, NDArray[np.float64]]
    scores: NDArray[np.float64]
    parents: NDArray[np.int64]

    def best_passages(self) -> NDArray[np.intp]:
        """Positions of every document's best passage, ordered by (-score, docid)."""
        order = np.lexsort((self.docids, -self.scores))
        _, first = np.unique(self.parents[order], return_index=True)
        return order[np.sort(first)]


def rank(query: Query, snapshot: Snapshot, allowed: Allowed, plan: Plan) -> Ranking:
    """Run a plan over the allowed passages of a snapshot."""
    started = time.perf_counter()
    depth, rounds = plan.depth, 0
    while True:
        proposals = {leg: retrieval.ALL[leg].search(query, snapshot, allowed, depth) for leg in plan.first}
        docids = np.unique(np.concatenate([found.docids for found in proposals.values()]))
        pool = _score(query, snapshot, docids, plan.first)
        bound, slack = blend_bound(proposals, plan.first)
        best = pool.best_passages()
        kth = float(pool.scores[best[plan.documents - 1]]) if len(best) >= plan.documents else None
        # without a dense or ColBERT leg a passage that no leg returned scores 0, and what scores 0 is no match
        nothing_left = np.isneginf(bound) or (_matches_only(plan.first) and bound <= 0)
        guarantee = certify(kth, bound, slack, nothing_left=bool(nothing_left), rounds=rounds)
        if guarantee is not None:
            break
        depth, rounds = depth * 2, rounds + 1
    if not nothing_left and any(found.approximate for found in proposals.values()):
        guarantee = Guarantee.CANDIDATES
    statistics = {
        "legs": dict(plan.first),
        "depth": depth,
        "rounds": rounds + 1,
        "candidates": len(docids),
        "postings": {leg: found.postings for leg, found in proposals.items()},
        "reranked": 0,
    }
    recall = recall_of(snapshot.manifest.segments) if "dense" in plan.first else None
    if recall is not None:
        statistics["dense"] = {"effort": proposals["dense"].effort, **recall}
    chosen = _chosen(pool, best, plan.documents)
    if plan.weights != plan.first:
        chosen = _rank_set(pool, best, snapshot, plan.documents)
        statistics["reranked"] = len(chosen)
        docids = _passages_of(chosen, snapshot, allowed)
        pool = _score(query, snapshot, docids, plan.weights)
        chosen = pool.best_passages()
        guarantee = Guarantee.RERANK
    documents = sorted((_document(pool, int(at), snapshot) for at in chosen), key=lambda hit: (-hit.score, hit.id))
    statistics["seconds"] = time.perf_counter() - started
    return Ranking(documents[: plan.k], guarantee, bound, kth, statistics)


def _score(query: Query, snapshot: Snapshot, docids: NDArray[np.int64], weights: Mapping[str, float]) -> _Pool:
    """Complete and blend; without a leg that scores everything, only what scores above 0 matches."""
    parts = complete(query, snapshot, docids, weights)
    scores = blend(parts, weights)
    if _matches_only(weights):
        kept = scores > 0
        docids, scores = docids[kept], scores[kept]
        parts = {leg: values[kept] for leg, values in parts.items()}
    parents = np.empty(len(docids), np.int64)
    for segment, positions, rows in snapshot.split(docids):
        # a document is known by its first passage, which no other document has
        parents[positions] = segment.passage_ends[segment.documents_of[rows]] + segment.base
    return _Pool(docids, parts, scores, parents)


def _matches_only(weights: Mapping[str, float]) -> bool:
    return not {"dense", "colbert"} & set(weights)


def _chosen(pool: _Pool, best: NDArray[np.intp], documents: int) -> NDArray[np.intp]:
    """The first `documents`, and all that tie with the last of them: the ids decide among these."""
    if len(best) <= documents:
        return best
    kept: NDArray[np.intp] = best[pool.scores[best] >= pool.scores[best[documents - 1]]]
    return kept


def _rank_set(pool: _Pool, best: NDArray[np.intp], snapshot: Snapshot, documents: int) -> NDArray[np.int64]:
    """First passages of exactly `documents` documents, ties settled by id."""
    tied = sorted(
        (-pool.scores[at], _document(pool, int(at), snapshot).id, int(at)) for at in _chosen(pool, best, documents)
    )
    places: NDArray[np.intp] = np.array([at for _, _, at in tied[:documents]], np.intp)
    parents: NDArray[np.int64] = pool.parents[places]
    return parents


def _passages_of(parents: NDArray[np.int64], snapshot: Snapshot, allowed: Allowed) -> NDArray[np.int64]:
    """All allowed passages of the documents that begin at these passages."""
    bitmaps = {segment.info.uuid: bitmap for segment, bitmap in zip(snapshot.segments, allowed, strict=True)}
    found: list[int] = []
    for segment, _, rows in snapshot.split(parents):
        bitmap = bitmaps[segment.info.uuid]
        for document in segment.documents_of[rows]:
            rows_of = range(*segment.passage_ends[document : document + 2])
            found.extend(row + segment.base for row in rows_of if bitmap is None or bitmap[row >> 3] >> (row & 7) & 1)
    return np.array(sorted(found), np.int64)


def _document(pool: _Pool, at: int, snapshot: Snapshot) -> RankedDocument:
    docid = int(pool.docids[at])
    segment = snapshot.segment_of(docid)
    number = int(segment.documents_of[docid - segment.base])
    parts = {leg: float(values[at]) for leg, values in pool.parts.items()}
    return RankedDocument(segment.id_of(number), segment, number, docid, float(pool.scores[at]), parts)
