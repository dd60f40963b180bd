"""Ranking against brute force on data made to break it; what is guaranteed must be true."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hard_data import VOCAB, adversarial, random_query, sparse_rows

from m3search import Document, Encodings, retrieval
from m3search.planning.blend import blend
from m3search.planning.narrowing import Narrowing
from m3search.planning.plan import Plan
from m3search.planning.ranking import rank
from m3search.retrieval import Query

TOLERANCE = 1e-5  # of a tie in float32


def every_score(query, snapshot, allowed, weights):
    """Document id -> its best passage's blend over all that may be found, by completion of every passage."""
    docids = np.arange(sum(segment.info.passages for segment in snapshot.segments))
    parts = {leg: retrieval.ALL[leg].complete(query, snapshot, docids) for leg in weights}
    scores = blend(parts, weights)
    best = {}
    for segment, bitmap in zip(snapshot.segments, allowed, strict=True):
        for row in range(segment.info.passages):
            if bitmap is None or bitmap[row >> 3] >> (row & 7) & 1:
                name = segment.id_of(int(segment.documents_of[row]))
                best[name] = max(best.get(name, -np.inf), float(scores[segment.base + row]))
    if not {"dense", "colbert"} & set(weights):
        best = {name: score for name, score in best.items() if score > 0}
    return best


def ordered(best):
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))


def check_documents(ranking, snapshot, query, weights):
    """What holds of every answer: order, distinct documents, parts that are exact and make the score."""
    documents = ranking.documents
    assert [(hit.id, hit.score) for hit in documents] == ordered({hit.id: hit.score for hit in documents})
    for hit in documents:
        parts = {leg: retrieval.ALL[leg].complete(query, snapshot, np.array([hit.passage])) for leg in weights}
        assert hit.parts == {leg: values[0] for leg, values in parts.items()}
        assert hit.score == blend(parts, weights)[0]
        segment = snapshot.segments[hit.owner]
        assert segment.id_of(hit.number) == hit.id
        assert segment.documents_of[hit.passage - segment.base] == hit.number


def check_first_stage(ranking, plan, expected, found):
    """Whether the guarantee is true of documents and scores that should be the first of `expected`."""
    wanted = expected[: len(found)]
    if ranking.guarantee == "exact":
        assert found == wanted
        for name, score in expected[len(found) :]:
            assert (score, name) != found[-1]
            assert score <= found[-1][1]
    else:
        assert ranking.guarantee == "exact up to ties at rank k"
        truth = dict(expected)
        for (name, score), (_, best) in zip(found, wanted, strict=True):
            assert score == pytest.approx(best, abs=TOLERANCE)
            assert truth[name] == pytest.approx(score, abs=TOLERANCE)


def check(ranking, query, snapshot, allowed, plan):
    check_documents(ranking, snapshot, query, plan.weights)
    expected = ordered(every_score(query, snapshot, allowed, plan.first))
    found = [(hit.id, hit.score) for hit in ranking.documents]
    settled = min(plan.documents, len(expected))
    assert len(found) == min(plan.k, len(expected))
    if len(expected) >= plan.documents:
        assert ranking.kth_score == pytest.approx(expected[settled - 1][1], abs=TOLERANCE)
    else:
        assert ranking.kth_score is None
    if plan.weights == plan.first:
        check_first_stage(ranking, plan, expected, found)
        assert ranking.statistics["reranked"] == 0
        return
    assert ranking.guarantee == "exact over the rerank set"
    assert ranking.statistics["reranked"] == settled
    full = every_score(query, snapshot, allowed, {**plan.weights})
    assert all(score == full[name] for name, score in found)
    if not settled:
        return
    last = expected[settled - 1][1]
    certain = {name for name, score in expected if score > last + TOLERANCE}
    possible = {name for name, score in expected if score >= last - TOLERANCE}
    assert {name for name, _ in found} <= possible
    # every document that is certainly in the set, and not among the hits, stands below all of them
    for name in certain - {name for name, _ in found}:
        assert (-full[name], name) > (-found[-1][1], found[-1][0])


# -- any plan --


def random_plan(rng):
    legs = ["dense", "lexical", "bm25"]
    first = {leg: float(rng.choice([0.3, 1, 2])) for leg in legs if rng.random() < 0.6}
    first = first or {str(rng.choice([*legs, "colbert"])): 1.0}
    k = int(rng.choice([1, 2, 3, 10, 59, 60, 200]))
    depth = int(rng.choice([1, 2, 10, 100, 400]))
    attempt = int(rng.choice([0, 0, 1, 3, 11, 70]))
    if "colbert" in first or rng.random() < 0.6:
        return Plan(k, first, first, depth, attempt=attempt)
    weights = {**first, "colbert": 1.0} if rng.random() < 0.7 else {"colbert": 1.0}
    return Plan(k, weights, first, depth, max(k, int(rng.choice([1, 5, 20]))), attempt)


@pytest.mark.parametrize("size", [3, 7, 100_000])
@pytest.mark.parametrize("seed", range(5))
def test_any_plan_on_hard_data_equals_brute_force(snapshot_of, seed, size):
    documents, encodings = adversarial(seed)
    deleted = [document.id for document in documents[:: 7 if seed % 2 else 1000]]
    snapshot = snapshot_of(documents, encodings, size, deleted)
    rng = np.random.default_rng([seed, size])
    said = Counter()
    for _ in range(60):
        query, plan = random_query(rng), random_plan(rng)
        ids = [f"d{number:02}" for number in rng.permutation(70)[: rng.integers(0, 40)]]
        allowed = snapshot.allowed(ids if rng.random() < 0.3 else None)
        ranking = rank(query, snapshot, allowed, plan)
        check(ranking, query, snapshot, allowed, plan)
        assert not {hit.id for hit in ranking.documents} & set(deleted)
        said[str(ranking.guarantee)] += 1
    assert len(said) == 3, "the data must be hard enough for every guarantee"


class Unvouched:
    """A leg whose scores have to be completed, whatever they are."""

    def __init__(self, leg):
        self.leg, self.complete = leg, leg.complete

    def search(self, *arguments):
        return dataclasses.replace(self.leg.search(*arguments), exact=False)


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("seed", range(4))
def test_no_shortcut_changes_a_bit_of_an_answer(snapshot_of, monkeypatch, seed, size):
    """Against full completion of every candidate, none dropped, from the plan's depth on."""
    documents, encodings = adversarial(seed)
    snapshot = snapshot_of(documents, encodings, size, [document.id for document in documents[::9]])
    rng = np.random.default_rng([seed, size, 1])
    shorter = 0
    for _ in range(80):
        query, plan = random_query(rng), random_plan(rng)
        ranking = rank(query, snapshot, snapshot.allowed(None), plan)
        with monkeypatch.context() as patch:
            for name, leg in retrieval.ALL.items():
                patch.setitem(retrieval.ALL, name, Unvouched(leg))
            patch.setattr(Narrowing, "drop", lambda *_: None)
            full = rank(query, snapshot, snapshot.allowed(None), dataclasses.replace(plan, attempt=0))
        assert ranking.found.ids == full.found.ids
        assert ranking.passages.tolist() == full.passages.tolist()
        assert ranking.scores.tobytes() == full.scores.tobytes()
        assert {leg: values.tobytes() for leg, values in ranking.parts.items()} == {
            leg: values.tobytes() for leg, values in full.parts.items()
        }
        assert (ranking.guarantee, ranking.kth_score) == (full.guarantee, full.kth_score)
        assert ranking.bound >= full.bound
        assert ranking.statistics.keys() == full.statistics.keys()
        shorter += ranking.statistics["depth"] < full.statistics["depth"]
    assert shorter, "some answers must have been proven at once"


def test_a_first_attempt_takes_nothing_for_a_tie(snapshot_of):
    # by docid the ids fall: of 30 that tie, the plan's depth sees the one with the smallest id, the attempt does not
    documents = [Document(f"d{99 - number}", "zip json" if number < 30 else "zip file read") for number in range(60)]
    snapshot = snapshot_of(documents, None, 100)
    one = dataclasses.replace(alone("bm25", 3), attempt=5)
    ranking = ask(snapshot, one, [0], counts={"zip": 1})
    assert [hit.id for hit in ranking.documents] == ["d70", "d71", "d72"]
    assert ranking.guarantee == "exact"
    assert (ranking.statistics["rounds"], ranking.statistics["depth"]) == (2, 100)
    # nothing ties with the thirtieth
    ranking = ask(snapshot, dataclasses.replace(alone("bm25", 30), attempt=31), [0], counts={"zip": 1})
    assert [hit.id for hit in ranking.documents] == [f"d{number}" for number in range(70, 100)]
    assert (ranking.statistics["rounds"], ranking.statistics["depth"]) == (1, 31)


def test_an_attempt_grows_with_the_passages_of_a_document(snapshot_of):
    weights = np.zeros((60, VOCAB), np.float32)
    weights[:, 0] = np.linspace(0.5, 0.1, 60)
    documents = [Document(f"d{number:02}", "") for number in range(20)]
    snapshot = snapshot_of(documents, Encodings(lexical=sparse_rows(weights), offsets=np.arange(0, 61, 3)), 1000)
    query = Query.of(Encodings(lexical=sparse_rows(np.eye(1, VOCAB))), None)
    plan = dataclasses.replace(alone("lexical", 2), attempt=4)
    ranking = rank(query, snapshot, snapshot.allowed(None), plan)
    check(ranking, query, snapshot, snapshot.allowed(None), plan)
    assert (ranking.statistics["rounds"], ranking.statistics["depth"]) == (1, 12)


def dense_only(vectors, texts=None):
    """Documents d0, d1, ... with these vectors and nothing lexical."""
    vectors = np.array(vectors, np.float32)
    texts = texts or [""] * len(vectors)
    documents = [Document(f"d{number:03}", text) for number, text in enumerate(texts)]
    return documents, Encodings(dense=vectors, lexical=sparse_rows(np.zeros((len(vectors), VOCAB))))


def ask(snapshot, plan, vector, tokens=(), counts=None, ids=None):
    weights = np.zeros((1, VOCAB), np.float32)
    for token, weight in tokens:
        weights[0, token] = weight
    query = Query.of(Encodings(np.array([vector], np.float32), sparse_rows(weights)), counts)
    allowed = snapshot.allowed(ids)
    ranking = rank(query, snapshot, allowed, plan)
    check(ranking, query, snapshot, allowed, plan)
    return ranking


def alone(leg, k, depth=100):
    return Plan(k, {leg: 1.0}, {leg: 1.0}, depth)


@pytest.mark.parametrize("size", [7, 1000])
def test_a_document_that_no_leg_ranks_first_can_win(snapshot_of, size):
    # "both" is second in either leg and first in the blend: at depth 1 nobody proposes it
    dense = [[1.0, 0], [0.9, 0], [0, 1]] + [[0.1, 0.1]] * 20
    weights = np.zeros((23, VOCAB), np.float32)
    weights[:3, 0] = [0, 0.45, 0.5]
    documents = [Document(name, "") for name in ("dense", "both", "lexical", *(f"d{number}" for number in range(20)))]
    snapshot = snapshot_of(documents, Encodings(np.array(dense, np.float32), sparse_rows(weights)), size)
    plan = Plan(1, {"dense": 1.0, "lexical": 1.0}, {"dense": 1.0, "lexical": 1.0}, 1)
    ranking = ask(snapshot, plan, [1, 0], [(0, 1.0)])
    assert [hit.id for hit in ranking.documents] == ["both"]
    assert ranking.statistics["rounds"] > 1
    assert ranking.statistics["depth"] > 1
    assert ranking.guarantee == "exact"
    assert ranking.bound < ranking.kth_score


def test_what_one_leg_proposes_the_other_scores(snapshot_of):
    # the best of the dense leg is far down in the lexical one, but not without a score there
    weights = np.zeros((300, VOCAB), np.float32)
    weights[:, 0] = np.linspace(0.5, 0.9, 300)
    dense = np.zeros((300, 2), np.float32)
    dense[0] = [5, 0]
    dense[1:, 0] = np.linspace(1.0, 0.1, 299)
    documents = [Document(f"d{number:03}", "") for number in range(300)]
    snapshot = snapshot_of(documents, Encodings(dense, sparse_rows(weights)), 100)
    plan = Plan(3, {"dense": 1.0, "lexical": 1.0}, {"dense": 1.0, "lexical": 1.0}, 10)
    ranking = ask(snapshot, plan, [1, 0], [(0, 1.0)])
    assert ranking.documents[0].id == "d000"
    assert ranking.documents[0].parts == {"dense": 5.0, "lexical": 0.5}


@pytest.mark.parametrize(("count", "guarantee"), [(90, "exact"), (2000, "exact up to ties at rank k")])
def test_exact_duplicates_at_rank_k(snapshot_of, count, guarantee):
    third = np.float32(1) / np.float32(3)  # a float32 product of these is not the exact one
    snapshot = snapshot_of(*dense_only([[third, third, third]] * count), 500)
    ranking = ask(snapshot, alone("dense", 5), [third, 0.7, 0.1])
    assert ranking.guarantee == guarantee
    assert ranking.statistics["rounds"] <= 4, "duplicates must not deepen the search to the end"
    assert [hit.id for hit in ranking.documents] == [f"d{number:03}" for number in range(5)]


def test_duplicates_tie_at_once_where_no_float32_blurs_them(snapshot_of):
    documents = [Document(f"d{number:03}", "zip" if number else "zip zip") for number in range(500)]
    snapshot = snapshot_of(documents, None, 100)
    ranking = ask(snapshot, alone("bm25", 3), [0], counts={"zip": 1})
    assert ranking.guarantee == "exact up to ties at rank k"
    assert ranking.statistics["rounds"] == 1
    assert ranking.documents[0].id == "d000"
    assert ask(snapshot, alone("bm25", 1), [0], counts={"zip": 1}).guarantee == "exact"


def test_scores_closer_than_float32_can_tell(snapshot_of):
    rng = np.random.default_rng(2)
    base = rng.normal(size=16).astype(np.float32)
    vectors = np.repeat(base[None], 1500, 0)
    for row in range(1500):  # moves by single bits
        vectors[row, row % 16] = np.nextafter(vectors[row, row % 16], np.float32(9 if row % 3 else -9))
    snapshot = snapshot_of(*dense_only(vectors), 400)
    for k in (1, 10, 700):
        ranking = ask(snapshot, alone("dense", k, depth=20), base)
        assert ranking.statistics["rounds"] <= 9


def test_one_giant_vector_does_not_make_ties_of_everything(snapshot_of):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(1500, 16)).astype(np.float32)
    vectors[5] = 0
    vectors[5, 0] = 1e9  # orthogonal to the query, and a billion times as long as the others
    snapshot = snapshot_of(*dense_only(vectors), 1000)
    ranking = ask(snapshot, alone("dense", 10, depth=10), [0, *rng.normal(size=15)])
    assert ranking.guarantee == "exact"


def test_all_scores_may_be_negative(snapshot_of):
    rng = np.random.default_rng(5)
    vectors = np.abs(rng.normal(size=(300, 4)))
    documents, encodings = dense_only(vectors, ["zip" if number % 50 == 0 else "" for number in range(300)])
    snapshot = snapshot_of(documents, encodings, 100)
    ranking = ask(snapshot, alone("dense", 10, depth=20), [-1, -1, -1, -1])
    assert all(hit.score < 0 for hit in ranking.documents)
    assert ranking.guarantee == "exact"
    plan = Plan(10, {"dense": 1.0, "bm25": 1.0}, {"dense": 1.0, "bm25": 1.0}, 5)
    ranking = ask(snapshot, plan, [-1, -1, -1, -1], counts={"zip": 1})
    assert len(ranking.documents) == 10
    # BM25 alone finds six, and no more
    ranking = ask(snapshot, alone("bm25", 10), [0, 0, 0, 0], counts={"zip": 1})
    assert len(ranking.documents) == 6
    assert ranking.guarantee == "exact"


def test_without_any_lexical_weight_nothing_matches(snapshot_of):
    snapshot = snapshot_of(*dense_only(np.eye(4)), 2)
    ranking = ask(snapshot, alone("lexical", 3), [1, 0, 0, 0], [(0, 1.0)])
    assert ranking.documents == []
    assert ranking.guarantee == "exact"
    plan = Plan(3, {"dense": 1.0, "lexical": 1.0}, {"dense": 1.0, "lexical": 1.0}, 1)
    assert ask(snapshot, plan, [1, 0, 0, 0], [(0, 1.0)]).documents[0].score == 0.5


def test_many_passages_of_one_document_are_one_hit(snapshot_of):
    rng = np.random.default_rng(6)
    dense = np.concatenate([np.full((400, 2), 1.0), rng.uniform(0, 0.5, (30, 2))]).astype(np.float32)
    dense[:400, 1] += np.linspace(0, 1, 400)
    offsets = np.concatenate([[0], np.arange(400, 431)])
    documents = [Document(f"d{number:02}", "") for number in range(31)]
    snapshot = snapshot_of(documents, Encodings(dense=dense, offsets=offsets), 50)
    plan = alone("dense", 3, depth=10)
    query = Query.of(Encodings(dense=np.ones((1, 2), np.float32)), None)
    ranking = rank(query, snapshot, snapshot.allowed(None), plan)
    check(ranking, query, snapshot, snapshot.allowed(None), plan)
    assert ranking.documents[0].id == "d00"
    assert ranking.documents[0].passage == 399
    assert len({hit.id for hit in ranking.documents}) == 3
    assert ranking.statistics["rounds"] > 4, "400 passages of one document stand before the second one"


@pytest.mark.parametrize("k", [1, 9, 10, 11, 10_000])
@pytest.mark.parametrize("depth", [1, 100])
def test_k_beyond_what_is_there(snapshot_of, k, depth):
    snapshot = snapshot_of(*dense_only(np.random.default_rng(0).normal(size=(10, 3))), 4)
    ranking = ask(snapshot, alone("dense", k, depth), [1, 2, 3])
    assert len(ranking.documents) == min(k, 10)
    assert ranking.guarantee == "exact"
    assert (ranking.kth_score is None) == (k > 10)
    assert ranking.bound == -np.inf or k < 10


def test_only_these_documents_also_where_they_score_last(snapshot_of):
    vectors = np.linspace(1, 0, 500)[:, None]
    snapshot = snapshot_of(*dense_only(vectors), 90)
    ranking = ask(snapshot, alone("dense", 3, depth=1), [1], ids=["d499", "d450", "d001", "gone"])
    assert [hit.id for hit in ranking.documents] == ["d001", "d450", "d499"]
    assert ask(snapshot, alone("dense", 3), [1], ids=[]).documents == []
    assert ask(snapshot, alone("dense", 3), [1], ids=["gone"]).guarantee == "exact"


def test_an_index_without_a_live_document(snapshot_of):
    documents, encodings = adversarial(0, count=6)
    snapshot = snapshot_of(documents, encodings, 3, [document.id for document in documents])
    rng = np.random.default_rng(0)
    for _ in range(40):
        query, plan = random_query(rng), random_plan(rng)
        ranking = rank(query, snapshot, snapshot.allowed(None), plan)
        assert ranking.documents == []
        assert ranking.kth_score is None


def test_a_rerank_set_of_k_is_reordered_and_not_exchanged(snapshot_of):
    # the token vectors like d002 best, but the first stage leaves it out
    dense = np.array([[1.0], [0.9], [0.1], [0.0]], np.float32)
    colbert = [np.array([[value]], np.float32) for value in (0.1, 0.5, 1.0, 0.7)]
    documents = [Document(f"d{number:03}", "") for number in range(4)]
    snapshot = snapshot_of(documents, Encodings(dense=dense, colbert=colbert), 2)
    query = Query.of(Encodings(np.ones((1, 1), np.float32), colbert=[np.ones((1, 1), np.float32)]), None)

    def ids(weights, rerank, k=2):
        plan = Plan(k, weights, {"dense": 1.0}, 100, rerank)
        ranking = rank(query, snapshot, snapshot.allowed(None), plan)
        check(ranking, query, snapshot, snapshot.allowed(None), plan)
        return [hit.id for hit in ranking.documents]

    assert ids({"dense": 1.0, "colbert": 1.0}, 1) == ["d001", "d000"]
    assert ids({"dense": 1.0, "colbert": 1.0}, 3) == ["d001", "d000"]
    assert ids({"colbert": 1.0}, 2) == ["d001", "d000"]
    assert ids({"colbert": 1.0}, 3) == ["d002", "d001"]
    assert ids({"colbert": 1.0}, 3, k=1) == ["d002"]
    assert ids({"colbert": 1.0}, 100) == ["d002", "d003"]


def test_reranking_looks_at_every_passage_of_a_document(snapshot_of):
    # the first stage knows d0 by its first passage, ColBERT likes its second one
    dense = np.array([[1.0], [0.0], [0.5], [0.4]], np.float32)
    colbert = [np.array([[value]], np.float32) for value in (0.0, 1.0, 0.5, 0.1)]
    documents = [Document("d0", ""), Document("d1", ""), Document("d2", "")]
    snapshot = snapshot_of(documents, Encodings(dense=dense, colbert=colbert, offsets=[0, 2, 3, 4]), 3)
    query = Query.of(Encodings(np.ones((1, 1), np.float32), colbert=[np.ones((1, 1), np.float32)]), None)
    plan = Plan(2, {"colbert": 1.0}, {"dense": 1.0}, 1, 2)
    ranking = rank(query, snapshot, snapshot.allowed(None), plan)
    assert [(hit.id, hit.passage) for hit in ranking.documents] == [("d0", 1), ("d1", 2)]


def test_statistics_count_what_was_done(snapshot_of):
    snapshot = snapshot_of(
        *dense_only(np.random.default_rng(0).normal(size=(50, 3)), ["zip read"] * 25 + ["zip"] * 25), 20
    )
    plan = Plan(5, {"dense": 1.0, "bm25": 0.5}, {"dense": 1.0, "bm25": 0.5}, 100)
    statistics = ask(snapshot, plan, [1, 2, 3], counts={"zip": 1, "read": 1}).statistics
    assert statistics["legs"] == {"dense": 1.0, "bm25": 0.5}
    assert statistics["depth"] == 100
    assert statistics["rounds"] == 1
    assert statistics["candidates"] == 50
    assert statistics["postings"] == {"dense": 50, "bm25": 75}
    assert statistics["reranked"] == 0
    assert statistics["seconds"] > 0


def test_of_equal_passages_the_first_is_shown(snapshot_of):
    dense = np.array([[0.5], [1.0], [1.0], [0.2], [1.0], [1.0]], np.float32)
    documents = [Document("d0", ""), Document("d1", "")]
    snapshot = snapshot_of(documents, Encodings(dense=dense, offsets=[0, 3, 6]), 2)
    query = Query.of(Encodings(dense=np.ones((1, 1), np.float32)), None)
    ranking = rank(query, snapshot, snapshot.allowed(None), alone("dense", 2))
    assert [(hit.id, hit.passage) for hit in ranking.documents] == [("d0", 1), ("d1", 4)]
