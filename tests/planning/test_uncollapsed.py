"""Without collapse every passage is a hit: against brute force over passages, page by page, and reranked."""

from __future__ import annotations

import numpy as np
import pytest
from hard_data import adversarial, random_query

from m3search import Document, Encodings, Index, errors, retrieval
from m3search.planning.blend import blend
from m3search.planning.cursor import Cursor
from m3search.planning.planner import Limits, make_plan
from m3search.planning.preparation import Prepared
from m3search.planning.ranking import rank

LEGS = ("dense", "lexical", "bm25", "colbert")
TOLERANCE = 1e-5  # of a tie in float32


def plan(k, weights, rerank=0, **limits):
    limits = Limits(rerank=rerank, collapse=False, **limits)
    return make_plan(k, weights, None, index_legs=LEGS, query_legs=LEGS, limits=limits)


def every_passage(query, snapshot, allowed, weights):
    """(-score, id, docid) of every passage that may be found, in order."""
    docids = np.arange(sum(segment.info.passages for segment in snapshot.segments))
    scores = blend({leg: retrieval.ALL[leg].complete(query, snapshot, docids) for leg in weights}, weights)
    found = []
    for segment, bitmap in zip(snapshot.segments, allowed, strict=True):
        for row in range(segment.info.passages):
            score = float(scores[segment.base + row])
            if (bitmap is None or bitmap[row >> 3] >> (row & 7) & 1) and (score > 0 or "dense" in weights):
                found.append((-score, segment.id_of(int(segment.documents_of[row])), segment.base + row))
    return sorted(found)


def listed(ranking):
    return [
        (-score, name, passage)
        for score, name, passage in zip(
            ranking.scores.tolist(), ranking.found.ids, ranking.passages.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("seed", range(4))
def test_every_passage_is_a_hit_of_its_own(snapshot_of, seed, size):
    documents, encodings = adversarial(seed)
    snapshot = snapshot_of(documents, encodings, size, [document.id for document in documents[::8]])
    rng = np.random.default_rng([seed, size])
    twice = 0
    for number in range(40):
        query, k = random_query(rng), int(rng.choice([1, 3, 10, 60, 300]))
        weights = {leg: float(rng.choice([0.3, 1, 2])) for leg in LEGS[:3] if rng.random() < 0.6} or {"bm25": 1.0}
        allowed = snapshot.allowed([f"d{one:02}" for one in range(45)] if number % 3 == 0 else None)
        expected = every_passage(query, snapshot, allowed, weights)
        ranking = rank(query, snapshot, allowed, plan(k, weights))
        found = listed(ranking)
        assert len(found) == min(k, len(expected))
        assert found == sorted(found)
        if ranking.guarantee == "exact":
            assert found == expected[:k]
        else:
            assert ranking.guarantee == "exact up to ties at rank k"
            assert np.allclose([one[0] for one in found], [one[0] for one in expected[:k]], atol=TOLERANCE)
            assert set(found) <= set(expected)
        twice += len(set(ranking.found.ids)) < len(found)
    assert twice > 10, "documents with two passages among the hits"


@pytest.mark.parametrize("rerank", [0, 15])
def test_pages_are_the_whole_answer_in_pieces(snapshot_of, rerank):
    snapshot = snapshot_of(*adversarial(2), 7)
    rng = np.random.default_rng(rerank)
    allowed = snapshot.allowed(None)
    for _ in range(10):
        query = random_query(rng)
        weights = dict.fromkeys(LEGS if rerank else LEGS[:3], 1.0)
        made = plan(4, weights, rerank)
        whole = listed(rank(query, snapshot, allowed, made.at(150)))
        assert len({passage for _, _, passage in whole}) == len(whole)
        with Cursor(Prepared(query, made), snapshot, allowed, explain=False, spelling=None) as cursor:
            shown = [(-hit.score, hit.id, hit.span) for hits in cursor for hit in hits]
        assert [one[:2] for one in shown] == [one[:2] for one in whole]
        offset = [listed(rank(query, snapshot, allowed, plan(4, weights, rerank, offset=at)))[at:] for at in (0, 4, 8)]
        assert [one for page in offset for one in page] == whole[:12]


def test_token_vectors_rerank_passages(snapshot_of):
    snapshot = snapshot_of(*adversarial(0), 7)
    query = random_query(np.random.default_rng(5))
    weights = {"dense": 1.0, "colbert": 1.0}
    allowed = snapshot.allowed(None)
    ranking = rank(query, snapshot, allowed, plan(5, weights, rerank=20))
    proposed = {passage for _, _, passage in every_passage(query, snapshot, allowed, {"dense": 1.0})[:20]}
    assert ranking.trace.reranked == 20
    found = [(score, passage) for score, _, passage in listed(ranking)]
    full = {passage: (score, passage) for score, _, passage in every_passage(query, snapshot, allowed, weights)}
    assert all(full[passage] == (score, passage) for score, passage in found)
    assert {passage for _, passage in found} <= proposed or ranking.guarantee != "exact over the rerank set"


def test_a_document_may_be_several_hits():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    encodings = Encodings(vectors, offsets=np.array([0, 2, 3]))
    with Index.build([Document("a", "one text"), Document("b", "another")], encoder=None, encodings=encodings) as index:
        query = Encodings(np.array([[1, 0]], np.float32))
        assert index.search(query, weights={"dense": 1}).ids == ["a", "b"]
        hits = index.search(query, weights={"dense": 1}, collapse=False)
        assert hits.ids == ["a", "a", "b"]
        assert [hit.score for hit in hits] == pytest.approx([1, 0.9, 0])
        assert index.search("", filter=None, ids=["a"], collapse=False).ids == ["a", "a"]
        with pytest.raises(errors.QueryError, match="collapse is 'no': give True for documents"):
            index.search(query, collapse="no")
