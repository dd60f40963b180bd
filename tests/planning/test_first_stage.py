"""Strategies and budgets: what is scored exhaustively equals what is proven, and what is stopped says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hard_data import VOCAB, adversarial, random_query, sparse_rows

from m3search import Document, Encodings
from m3search.planning.plan import Plan, Strategy
from m3search.planning.ranking import rank
from m3search.retrieval import Query, members


@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_scoring_all_that_is_allowed_equals_the_blend(snapshot_of, seed, size):
    documents, encodings = adversarial(seed)
    snapshot = snapshot_of(documents, encodings, size, [document.id for document in documents[::9]])
    rng = np.random.default_rng([seed, size])
    for _ in range(30):
        query, k = random_query(rng), int(rng.choice([1, 4, 30]))
        first = {leg: 1.0 for leg in ("dense", "lexical", "bm25") if rng.random() < 0.7} or {"bm25": 1.0}
        weights = {**first, "colbert": 0.5} if rng.random() < 0.3 else first
        ids = [f"d{number:02}" for number in rng.permutation(70)[: rng.integers(0, 40)]]
        allowed = snapshot.allowed(ids)
        blend = Plan(k, weights, first, 100, max(k, 20) if weights != first else 0)
        proven = rank(query, snapshot, allowed, blend)
        every = rank(query, snapshot, allowed, dataclasses.replace(blend, strategy=Strategy.ALLOWED))
        assert every.found.ids == proven.found.ids
        assert every.scores.tobytes() == proven.scores.tobytes()
        assert every.guarantee == ("exact" if weights == first else "exact over the rerank set")
        assert every.bound == -np.inf
        assert every.statistics["candidates"] == len(members(snapshot, allowed))
        assert not every.trace.rounds[0].legs


def hard(count):
    """Dense and lexical scores that run against each other: a certificate needs nearly all candidates."""
    rising = np.linspace(0.4, 0.6, count, dtype=np.float32)
    weights = np.zeros((count, VOCAB), np.float32)
    weights[:, 0] = rising[::-1]
    dense = np.stack([rising, np.zeros(count, np.float32)], axis=1)
    query = Query.of(Encodings(np.array([[1, 0]], np.float32), sparse_rows(np.eye(1, VOCAB))), None)
    return [Document(f"d{number:04}", "") for number in range(count)], Encodings(dense, sparse_rows(weights)), query


BLEND = {"dense": 1.0, "lexical": 1.0}


@pytest.mark.parametrize(("most", "depths"), [(None, [10, 20, 40, 80, 160, 320]), (100, [10, 20, 40, 50]), (12, [6])])
def test_no_more_candidates_than_the_budget_has(snapshot_of, most, depths):
    documents, encodings, query = hard(600)
    snapshot = snapshot_of(documents, encodings, 200)
    plan = Plan(5, BLEND, BLEND, 10, max_candidates=most)
    ranking = rank(query, snapshot, snapshot.allowed(None), plan)
    assert [one.depth for one in ranking.trace.rounds] == depths
    assert all(len(one.legs) * one.depth <= (most or 1e9) for one in ranking.trace.rounds)
    assert ranking.guarantee == ("budget reached" if most else "exact")
    assert len(ranking) == 5
    # what is there is scored exactly
    assert ranking.scores.tolist() == pytest.approx([0.5] * 5, abs=2e-4)
    assert (ranking.bound >= ranking.kth_score) == bool(most)


def test_time_is_heeded_between_rounds(snapshot_of):
    documents, encodings, query = hard(3000)
    snapshot = snapshot_of(documents, encodings, 1000)
    plan = Plan(5, BLEND, BLEND, 1)
    free = rank(query, snapshot, snapshot.allowed(None), plan)
    hurried = rank(query, snapshot, snapshot.allowed(None), dataclasses.replace(plan, max_ms=1e-6))
    assert (hurried.guarantee, len(hurried.trace.rounds)) == ("budget reached", 1)
    assert len(free.trace.rounds) > 3
    patient = rank(query, snapshot, snapshot.allowed(None), dataclasses.replace(plan, max_ms=1e6))
    assert (patient.guarantee, len(patient.trace.rounds)) == (free.guarantee, len(free.trace.rounds))


def test_a_budget_that_is_not_needed_changes_nothing(snapshot_of):
    documents, encodings = adversarial(2)
    snapshot = snapshot_of(documents, encodings, 9)
    rng = np.random.default_rng(5)
    for _ in range(20):
        query, plan = random_query(rng), Plan(3, BLEND, BLEND, 400)
        limited = dataclasses.replace(plan, max_ms=1e6, max_candidates=10**6)
        one, two = (rank(query, snapshot, snapshot.allowed(None), each) for each in (plan, limited))
        assert (one.found.ids, one.guarantee) == (two.found.ids, two.guarantee)


def test_a_late_rerank_scores_the_page_only(snapshot_of):
    documents, encodings = adversarial(0)
    snapshot = snapshot_of(documents, encodings, 1000)
    query = random_query(np.random.default_rng(1))
    plan = Plan(4, {"dense": 1.0, "colbert": 1.0}, {"dense": 1.0}, 100, 20)
    assert rank(query, snapshot, snapshot.allowed(None), plan).trace.reranked == 20
    late = rank(query, snapshot, snapshot.allowed(None), dataclasses.replace(plan, max_ms=1e-6))
    assert (late.trace.reranked, late.guarantee) == (4, "budget reached")


def test_figures_of_a_round_are_those_of_its_legs(snapshot_of):
    documents, encodings, query = hard(600)
    snapshot = snapshot_of(documents, encodings, 200)
    ranking = rank(query, snapshot, snapshot.allowed(None), Plan(5, BLEND, BLEND, 10, max_candidates=40))
    for one in ranking.trace.rounds:
        assert {leg: asked.returned for leg, asked in one.legs.items()} == dict.fromkeys(BLEND, one.depth)
        assert one.candidates == 2 * one.depth  # the legs agree on nobody
        assert one.bound == pytest.approx(sum(asked.bound for asked in one.legs.values()) / 2)
        assert one.proven is None
    assert ranking.statistics["candidates"] == ranking.trace.rounds[-1].candidates
    steps = ranking.statistics["steps"]
    assert set(steps["search"]) == set(BLEND)
    known = sum(steps["search"].values()) + sum(value for name, value in steps.items() if name != "search")
    assert known == pytest.approx(ranking.statistics["seconds"])
