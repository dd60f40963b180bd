"""Narrowing: no score is outside of what is thought possible, and who is dropped could not have been wanted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hard_data import adversarial, random_query, sparse_rows
from scipy import sparse

from m3search import Document, Encodings
from m3search.planning.narrowing import Narrowing, narrowed, step_by_step
from m3search.planning.pool import Pool
from m3search.records import LEGS, Candidates
from m3search.retrieval import ALL, Query


def proposed(query, snapshot, depth, legs):
    return {leg: ALL[leg].search(query, snapshot, snapshot.allowed(None), depth) for leg in legs}


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("seed", range(4))
def test_no_score_is_outside_of_what_is_thought_possible(snapshot_of, seed, size):
    snapshot = snapshot_of(*adversarial(seed), size)
    rng = np.random.default_rng([seed, size])
    for _ in range(40):
        query = random_query(rng)
        proposals = proposed(query, snapshot, int(rng.choice([1, 5, 30])), LEGS[:3])
        if rng.random() < 0.3:
            proposals["bm25"] = dataclasses.replace(proposals["bm25"], exact=False)
        narrowing = Narrowing(snapshot, proposals)
        for leg, found in proposals.items():
            exact = ALL[leg].complete(query, snapshot, narrowing.docids)
            least, most, known = narrowing.least[leg], narrowing.most[leg], narrowing.known[leg]
            assert (least <= exact).all()
            assert (exact <= most).all()
            assert least[known].tobytes() == most[known].tobytes() == exact[known].tobytes()
            assert known[np.isin(narrowing.docids, found.docids)].all() == (found.exact or not len(found))


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("seed", range(4))
def test_who_is_dropped_could_not_have_been_wanted(snapshot_of, seed, size):
    snapshot = snapshot_of(*adversarial(seed, count=150), size)
    rng = np.random.default_rng([seed, size, 2])
    dropped = 0
    for _ in range(60):
        legs = [leg for leg in LEGS[:3] if rng.random() < 0.7] or ["dense"]
        weights = {leg: float(rng.choice([0.3, 1, 2])) for leg in legs}
        query, documents = random_query(rng), int(rng.choice([1, 3, 10, 40]))
        before, depth = None, int(rng.choice([1, 10, 100]))
        for _ in range(2):  # and so at twice the depth, with what is known from before
            proposals = proposed(query, snapshot, depth, legs)
            if rng.random() < 0.2:
                proposals[legs[0]] = dataclasses.replace(proposals[legs[0]], exact=False, slack=1e-9)
            candidates, pool, completed = narrowed(query, snapshot, proposals, weights, documents, before)
            slowly = step_by_step(query, snapshot, proposals, weights, documents, before)
            assert (candidates, completed) == (slowly.candidates, slowly.completed) or len(legs) == 1
            assert_same(pool, slowly.pool)
            everybody = np.unique(np.concatenate([found.docids for found in proposals.values()]))
            full = Pool.of(query, snapshot, everybody, weights)
            before = pool
            best, expected = pool.best(documents), full.best(documents)
            assert candidates == len(everybody)
            assert pool.docids[best].tolist() == full.docids[expected].tolist()
            assert pool.scores[best].tobytes() == full.scores[expected].tobytes()
            for leg in legs:
                assert pool.parts[leg][best].tobytes() == full.parts[leg][expected].tobytes()
            dropped += len(everybody) - len(pool.docids)
            depth *= 2
    assert dropped > 100, "there must have been somebody to drop"


def assert_same(pool, other):
    """To the last bit, in whatever order: one leg alone keeps its own."""
    order = np.argsort(pool.docids)
    assert pool.docids[order].tobytes() == other.docids.tobytes()
    assert pool.scores[order].tobytes() == other.scores.tobytes()
    assert pool.parents[order].tobytes() == other.parents.tobytes()
    assert pool.parts.keys() == other.parts.keys()
    for leg, scores in pool.parts.items():
        assert scores[order].tobytes() == other.parts[leg].tobytes()


@pytest.fixture(scope="module")
def three(snapshot_of):
    dense = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    lexical = sparse.csr_array(np.array([[0.5, 0, 0], [0, 0.25, 0], [0.5, 0.25, 0]], np.float32))
    return snapshot_of([Document(name, "") for name in "abc"], Encodings(dense, lexical), 2)


QUERY = Query.of(Encodings(np.array([[2, 1]], np.float32), sparse.csr_array(np.array([[1, 2, 4]], np.float32))), None)


def test_an_exact_leg_is_taken_at_its_word_and_no_other(three):
    def lexical(exact, bound):
        # impossible scores, to be recognised
        found = Candidates(np.array([2, 0]), np.array([9.0, 8.0]), bound, slack=0.0 if exact else 1.0, exact=exact)
        other = Candidates(np.array([1]), np.array([1.0]), 1.0, exact=True)
        proposals = {"lexical": found, "dense": other}
        pools = [
            how(QUERY, three, proposals, {"lexical": 1.0, "dense": 1.0}, 3).pool for how in (narrowed, step_by_step)
        ]
        for pool in pools:
            assert pool.docids.tolist() == [0, 1, 2]
            assert pool.parts["dense"].tolist() == [2, 1, -2]
        assert_same(*pools)
        return pools[0].parts["lexical"].tolist()

    assert lexical(exact=True, bound=3.0) == [8, 0.5, 9]
    assert lexical(exact=False, bound=3.0) == [0.5, 0.5, 1]
    # what an exact lexical leg did not return, though nothing kept it from that, scores 0
    assert lexical(exact=True, bound=0.0) == [8, 0, 9]
    assert lexical(exact=False, bound=0.0) == [0.5, 0.5, 1]


def test_the_bound_of_an_approximate_index_drops_nobody(three):
    for effort, kept in ((0, [0]), (8, [0, 2])):
        proposals = {
            "dense": Candidates(np.array([0]), np.array([2.0]), 1.5, effort=effort, exact=True),
            "lexical": Candidates(np.array([2, 0]), np.array([1.0, 0.5]), 0.5, exact=True),
        }
        narrowing = Narrowing(three, proposals)
        narrowing.drop({"dense": 1.0, "lexical": 0.01}, 1)
        assert narrowing.docids.tolist() == kept


def test_documents_are_counted_and_not_their_passages(snapshot_of):
    # the three best passages are of one document: the second best document comes fourth
    dense = np.array([[9], [8], [7], [1], [6], [0.5]], np.float32)
    documents = [Document(name, "") for name in "abc"]
    offsets = np.array([0, 3, 5, 6])
    snapshot = snapshot_of(documents, Encodings(dense, sparse_rows(np.zeros((6, 50))), offsets=offsets), 100)
    narrowing = Narrowing(snapshot, {"dense": Candidates(np.arange(6), dense[:, 0].astype(float), 0.0, exact=True)})
    narrowing.drop({"dense": 1.0}, 2)
    assert narrowing.docids.tolist() == [0, 1, 2, 4]
    assert narrowing.parents.tolist() == [0, 0, 0, 3]


def test_one_exact_leg_alone_is_left_as_it_is(three):
    found = Candidates(np.array([2, 0]), np.array([1.0, 0.5]), 0.25, exact=True)
    candidates, pool, completed = narrowed(QUERY, three, {"lexical": found}, {"lexical": 1.0}, 1)
    assert (candidates, pool.docids.tolist(), completed) == (2, [2, 0], {"lexical": 0})
    assert pool.parts["lexical"].tolist() == pool.scores.tolist() == [1.0, 0.5]
