"""The shortlist of a rerank set: by brute force over signs and stored vectors, and when there is none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from m3search import Document, Encodings
from m3search.planning.plan import Plan
from m3search.planning.ranking import rank
from m3search.retrieval import ColbertLeg, Query

DOCUMENTS, DIM, TOKEN_DIM = 90, 6, 40
WEIGHTS = {"dense": 1.0, "colbert": 2.0}


def normalised(rng, *shape):
    made = rng.normal(size=shape).astype(np.float32)
    return made / np.linalg.norm(made, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def collection():
    """Documents of one to three passages."""
    rng = np.random.default_rng(1)
    offsets = np.cumsum([0, *rng.integers(1, 4, DOCUMENTS)])
    rows = int(offsets[-1])
    colbert = [normalised(rng, int(rng.integers(1, 9)), TOKEN_DIM) for _ in range(rows)]
    documents = [Document(f"d{number:02}", "") for number in range(DOCUMENTS)]
    return documents, Encodings(dense=normalised(rng, rows, DIM), colbert=colbert, offsets=offsets)


@pytest.fixture(scope="module")
def snapshots(collection, snapshot_of):
    return {
        (codec, size): snapshot_of(*collection, size, bm25=False, codec=codec)
        for codec in ("int8", "int8+bits")
        for size in (7, 1000)
    }


def query_of(seed):
    rng = np.random.default_rng(100 + seed)
    return Query.of(Encodings(normalised(rng, 1, DIM), colbert=[normalised(rng, 5, TOKEN_DIM)]), None)


def plan_of(k, reranked, weights=WEIGHTS):
    return Plan(k, weights, {"dense": 1.0}, 2 * reranked, reranked)


def parents(collection, scores, mask):
    """Document -> the best score of its allowed passages."""
    offsets = collection[1].offsets
    scores = np.where(mask, scores, -np.inf)
    best = [scores[start:stop].max() for start, stop in itertools.pairwise(offsets)]
    return {number: value for number, value in enumerate(best) if value > -np.inf}


def first(scores, count):
    return sorted(scores, key=lambda number: (-scores[number], number))[:count]


@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize(("k", "reranked", "kept"), [(1, 60, 12), (2, 60, 12), (5, 60, 20), (3, 90, 18)])
@pytest.mark.parametrize("filtered", [False, True])
def test_it_is_the_best_by_estimate_scored_exactly(collection, snapshots, size, k, reranked, kept, filtered):
    opened = snapshots["int8+bits", size]
    rows = np.arange(collection[1].offsets[-1])
    names = [f"d{number:02}" for number in range(DOCUMENTS) if number % 7] if filtered else None
    allowed = opened.allowed(names)
    mask = np.repeat([not filtered or number % 7 > 0 for number in range(DOCUMENTS)], np.diff(collection[1].offsets))
    leg = ColbertLeg()
    for seed in range(4):
        query = query_of(seed)
        dense = collection[1].dense.astype(np.float64) @ query.dense.astype(np.float64)
        reranked_set = first(parents(collection, dense, mask), reranked)
        estimated = parents(collection, (dense + 2 * leg.estimate(query, opened, rows)) / 3, mask)
        exact = parents(collection, (dense + 2 * leg.complete(query, opened, rows)) / 3, mask)
        chosen = first({number: estimated[number] for number in reranked_set}, kept)
        expected = first({number: exact[number] for number in chosen}, k)

        ranking = rank(query, opened, allowed, plan_of(k, reranked))
        assert [hit.id for hit in ranking.documents] == [f"d{number:02}" for number in expected]
        assert [hit.score for hit in ranking.documents] == pytest.approx([exact[number] for number in expected])
        assert ranking.guarantee == "exact over the rerank set's shortlist"
        assert ranking.statistics["reranked"] == kept
        assert ranking.statistics["estimated"] == min(reranked, len(reranked_set))


def test_a_hit_has_the_score_that_it_would_have_without(snapshots):
    for seed in range(10):
        query = query_of(seed)
        short, whole = (
            {
                hit.id: (hit.score, hit.parts, hit.passage)
                for hit in rank(query, opened, opened.allowed(None), plan_of(k, 80)).documents
            }
            for opened, k in ((snapshots["int8+bits", 7], 3), (snapshots["int8", 7], 80))
        )
        assert len(short) == 3
        assert all(whole[name] == found for name, found in short.items())


@pytest.mark.parametrize(("codec", "k", "reranked"), [("int8", 2, 60), ("int8+bits", 10, 40), ("int8+bits", 3, 12)])
def test_without_signs_or_with_few_to_choose_from_all_are_scored(snapshots, codec, k, reranked):
    opened = snapshots[codec, 7]
    ranking = rank(query_of(1), opened, opened.allowed(None), plan_of(k, reranked))
    assert ranking.guarantee == "exact over the rerank set"
    assert ranking.statistics["reranked"] == reranked
    assert ranking.statistics["estimated"] == 0


def test_fewer_documents_than_the_shortlist_has_room_for(snapshots):
    opened = snapshots["int8+bits", 7]
    ranking = rank(query_of(1), opened, opened.allowed(["d01", "d02", "d03"]), plan_of(2, 60))
    assert ranking.guarantee == "exact over the rerank set"
    assert ranking.statistics["reranked"] == 3
    assert ranking.statistics["estimated"] == 0


def test_colbert_alone_is_proposed_for_by_another_leg(snapshots):
    opened = snapshots["int8+bits", 1000]
    ranking = rank(query_of(2), opened, opened.allowed(None), plan_of(2, 60, {"colbert": 1.0}))
    assert ranking.guarantee == "exact over the rerank set's shortlist"
    assert list(ranking.documents[0].parts) == ["colbert"]
    assert ranking.documents[0].score == ranking.documents[0].parts["colbert"]


def test_a_search_says_so(collection, tmp_path):
    from m3search import Index

    documents, encodings = collection
    with Index.build(
        documents, tmp_path / "i", encoder=None, encodings=encodings, colbert="int8+bits", bm25=False
    ) as index:
        assert index.info()["colbert"]["codec"] == "int8+bits"
        asked = query_of(3)
        query = Encodings(asked.dense[None], colbert=[asked.colbert])
        hits = index.search(query, k=2, weights={"dense": 1, "colbert": 2}, rerank=80)
        assert hits.guarantee == "exact over the rerank set's shortlist"
        assert hits.statistics["estimated"] == 80
        hits = index.search(query, k=2, weights={"dense": 1, "colbert": 2}, rerank=0)
        assert hits.guarantee == "exact"
        assert list(hits[0].parts) == ["dense"]
