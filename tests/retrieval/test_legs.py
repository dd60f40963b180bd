"""One suite for all four legs: what they propose, bound and complete, against brute force over the stored values."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
from generated import collection, queries, snapshot, truth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3search import retrieval

LEGS = list(retrieval.ALL)
SIZES = (3, 7, 100_000)
DELETED = ["d000", "d003", "d004", "d005", "d017", "d039"]
CASES = [(seed, tuple(deleted)) for seed in range(2) for deleted in ([], DELETED)]


class Prepared:
    """The same documents in segments of three sizes, opened; passages have the same docids in all of them."""

    def __init__(self, stack, path, seed, deleted):
        self.made = collection(seed)
        self.deleted = deleted
        self.queries = queries(seed)
        self.live = np.array([self.made.documents[document].id not in deleted for document in self.made.rows_of])
        self.snapshots = {
            size: stack.enter_context(snapshot(path / f"{size}", self.made, size, list(deleted))) for size in SIZES
        }

    def allowed(self, size, mask):
        """The bitmaps of a mask over all passages."""
        segments = self.snapshots[size].segments
        return [np.packbits(mask[s.base : s.base + s.info.passages], bitorder="little") for s in segments]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    with ExitStack() as stack:
        yield {
            (seed, deleted): Prepared(stack, tmp_path_factory.mktemp("legs"), seed, deleted) for seed, deleted in CASES
        }


def check(leg, found, query, opened, scores, mask, depth):
    """The contract of `Leg.search`, and of the completion that goes with it."""
    docids = found.docids
    assert len(set(docids.tolist())) == len(docids)
    assert mask[docids].all(), "a passage that is dead or not allowed"
    assert (np.lexsort((docids, -found.scores)) == np.arange(len(docids))).all(), "not ordered by (-score, docid)"
    eligible = mask & (scores > 0) if leg in {"lexical", "bm25"} else mask
    assert len(docids) == min(depth, eligible.sum())

    completed = retrieval.ALL[leg].complete(query, opened, np.arange(len(mask)))
    assert completed == pytest.approx(scores, rel=1e-12, abs=1e-13)
    assert np.abs(found.scores - completed[docids]).max(initial=0) <= found.slack
    if leg != "dense":
        assert found.slack == 0
        assert found.exact
    if found.exact:  # then the planner completes nothing
        assert found.scores.tobytes() == completed[docids].tobytes()

    outside = mask.copy()
    outside[docids] = False
    assert (completed[outside] <= found.bound + found.slack).all(), "a passage beats the bound"
    assert not outside.any() or found.bound > -np.inf
    best = np.sort(completed[eligible])[::-1][:depth]
    assert found.scores == pytest.approx(
        best, rel=0, abs=found.slack
    )  # tie-aware: which of several equals does not matter


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("depth", [1, 2, 5, 20, 10_000])
def test_search_equals_brute_force(prepared, leg, size, case, depth):
    its = prepared[case]
    opened = its.snapshots[size]
    for query in its.queries.values():
        scores = truth(leg, its.made, query, its.live)
        found = retrieval.ALL[leg].search(query, opened, opened.allowed(None), depth)
        check(leg, found, query, opened, scores, its.live, depth)


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_only_what_is_allowed_is_found(prepared, leg, case, data):
    its = prepared[case]
    size = data.draw(st.sampled_from(SIZES))
    share = data.draw(st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]))
    depth = data.draw(st.integers(1, 120))
    query = its.queries[data.draw(st.sampled_from(sorted(its.queries)))]
    mask = its.live & (np.random.default_rng(data.draw(st.integers(0, 2**32))).random(len(its.live)) < share)
    scores = truth(leg, its.made, query, its.live)
    found = retrieval.ALL[leg].search(query, its.snapshots[size], its.allowed(size, mask), depth)
    check(leg, found, query, its.snapshots[size], scores, mask, depth)


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_completed_score_is_the_same_to_the_last_bit_in_any_company(prepared, leg, case, data):
    its = prepared[case]
    docids = np.array(data.draw(st.lists(st.integers(0, len(its.live) - 1), max_size=60)), np.int64)
    for query in its.queries.values():
        everything = retrieval.ALL[leg].complete(query, its.snapshots[SIZES[-1]], np.arange(len(its.live)))
        for opened in its.snapshots.values():
            completed = retrieval.ALL[leg].complete(query, opened, docids)
            assert completed.dtype == np.float64
            assert completed.tobytes() == everything[docids].tobytes()
        alone = [
            retrieval.ALL[leg].complete(query, opened, docids[at : at + 1])[0] for at in range(min(len(docids), 8))
        ]
        assert alone == everything[docids[:8]].tolist()


@pytest.mark.parametrize("leg", LEGS)
def test_segments_change_nothing_that_is_proposed_but_last_bits(prepared, leg):
    for its in prepared.values():
        for query in its.queries.values():
            found = [
                retrieval.ALL[leg].search(query, opened, opened.allowed(None), 15) for opened in its.snapshots.values()
            ]
            for other in found[1:]:
                assert other.scores == pytest.approx(found[0].scores, rel=1e-5, abs=1e-6)
                assert other.bound == pytest.approx(found[0].bound, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("size", SIZES)
def test_an_index_whose_documents_are_all_deleted(tmp_path, leg, size):
    made = collection(5, count=9)
    with snapshot(tmp_path / "i", made, size, [document.id for document in made.documents]) as opened:
        assert opened.documents == 0
        for query in queries(5).values():
            found = retrieval.ALL[leg].search(query, opened, opened.allowed(None), 10)
            assert len(found) == 0
            assert found.bound <= 0
            assert len(retrieval.ALL[leg].complete(query, opened, found.docids)) == 0


@pytest.mark.parametrize("leg", LEGS)
def test_an_index_that_never_had_documents(tmp_path, leg):
    with snapshot(tmp_path / "i", collection(5, count=0), 3) as opened:
        for query in queries(5).values():
            found = retrieval.ALL[leg].search(query, opened, opened.allowed(None), 10)
            assert len(found) == 0
            assert found.bound <= 0


@pytest.mark.parametrize("codec", ["int8", "bf16", "int8+bits"])
def test_colbert_completes_from_every_codec(tmp_path, codec):
    made = collection(8, count=10)
    query = queries(8)["all parts"]
    with snapshot(tmp_path / "i", made, 4, colbert=codec) as opened:
        completed = retrieval.ALL["colbert"].complete(query, opened, np.arange(len(made.rows_of)))
    exact = [(query.colbert @ v.T).max(axis=1).mean() if len(v) else 0 for v in made.encodings.colbert]
    assert completed == pytest.approx(np.array(exact), abs=0.05)
    assert completed.tolist() != exact


def test_every_leg_goes_by_its_name():
    assert {name: leg.name for name, leg in retrieval.ALL.items()} == {name: name for name in retrieval.ALL}
    assert set(retrieval.ALL) == {"dense", "lexical", "bm25", "colbert"}
