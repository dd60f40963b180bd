"""Pages: by offset or by a cursor they are the whole answer in pieces, and a cursor stays on its generation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hard_data import adversarial, random_query

from m3search import Document, Encodings, Index, errors
from m3search.planning.cursor import Cursor
from m3search.planning.explanation import Explanation
from m3search.planning.fusion import Fusion
from m3search.planning.plan import Strategy
from m3search.planning.planner import Limits, make_plan
from m3search.planning.preparation import Prepared
from m3search.planning.ranking import rank
from m3search.retrieval import Query

LEGS = ("dense", "lexical", "bm25", "colbert")


def plan(k, weights, rerank=20, **limits):
    limits = Limits(rerank=rerank, **limits)
    return make_plan(k, weights, None, index_legs=LEGS, query_legs=LEGS, limits=limits)


def pages(query, snapshot, allowed, made):
    with Cursor(Prepared(query, made), snapshot, allowed, explain=False, spelling=None) as cursor:
        return list(cursor)


@pytest.mark.parametrize("codec", ["int8", "int8+bits"])
@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_pages_are_the_whole_answer_in_pieces(snapshot_of, seed, size, codec):
    documents, encodings = adversarial(seed)
    snapshot = snapshot_of(documents, encodings, size, [document.id for document in documents[::9]], codec=codec)
    rng = np.random.default_rng([seed, size])
    for number in range(12):
        query = random_query(rng)
        weights = {leg: 1.0 for leg in LEGS if rng.random() < 0.6} or {"bm25": 1.0}
        allowed = snapshot.allowed([f"d{one:02}" for one in range(40)] if number % 3 == 0 else None)
        k = int(rng.choice([1, 3, 10]))
        first = plan(k, weights)
        whole = rank(query, snapshot, allowed, first.at(200))
        cut = [rank(query, snapshot, allowed, plan(k, weights, offset=offset)) for offset in range(0, 70, k)]
        ids = [name for offset, page in zip(range(0, 70, k), cut, strict=True) for name in page.found.ids[offset:]]
        assert ids == whole.found.ids
        assert len(set(ids)) == len(ids)
        shown = pages(query, snapshot, allowed, first)
        assert [name for page in shown for name in page.ids] == whole.found.ids
        assert all(len(page) == k for page in shown[:-1])
        assert [hit.rank for page in shown for hit in page] == list(range(1, len(whole) + 1))
        assert [hit.score for page in shown for hit in page] == whole.scores.tolist()
        if first.reranks:
            behind = max(k, 20)
            assert whole.trace.reranked <= behind
            assert all("colbert" not in whole.parts_of(at) for at in range(behind, len(whole)))
            order = whole.scores[whole.trace.reranked :]
            assert (np.diff(order) <= 0).all()


def test_a_cursor_can_begin_later(snapshot_of):
    documents, encodings = adversarial(1)
    snapshot = snapshot_of(documents, encodings, 9)
    query = random_query(np.random.default_rng(4))
    allowed = snapshot.allowed(None)
    whole = rank(query, snapshot, allowed, plan(100, {"dense": 1.0}))
    for offset in (0, 1, 7, 59, 60, 100):
        shown = pages(query, snapshot, allowed, plan(4, {"dense": 1.0}, offset=offset))
        assert [name for page in shown for name in page.ids] == whole.found.ids[offset:]
        assert [hit.rank for page in shown for hit in page] == list(range(offset + 1, len(whole) + 1))


def test_fused_lists_end_with_their_candidates(snapshot_of):
    documents, encodings = adversarial(1)
    snapshot = snapshot_of(documents, encodings, 9)
    query = random_query(np.random.default_rng(4))
    weights = {"dense": 1.0, "bm25": 1.0}
    made = plan(4, weights, fusion="rrf", depth=10)
    assert (made.strategy, made.fusion, made.at(80).depth) == (Strategy.LISTS, Fusion("rrf"), 10)
    shown = pages(query, snapshot, snapshot.allowed(None), made)
    whole = rank(query, snapshot, snapshot.allowed(None), dataclasses.replace(made, k=100))
    assert [name for page in shown for name in page.ids] == whole.found.ids
    assert len(whole) < 21


def vectors(count, seed=0):
    made = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_approximate_index_repeats_and_loses_nobody(tmp_path, kind):
    count = 3000
    documents = [Document(f"d{number:04}", "") for number in range(count)]
    with Index.build(
        documents, tmp_path / "index", encoder=None, bm25=False, encodings=Encodings(dense=vectors(count)), dense=kind
    ) as index:
        query = Encodings(dense=vectors(1, 1))
        with index.cursor(query, 100, dense_effort=1) as cursor:
            ids = [name for page in cursor for name in page.ids]
        assert len(ids) == len(set(ids)) == count
        offsets = range(0, 1200, 100)
        cut = [name for offset in offsets for name in index.search(query, 100, offset=offset, dense_effort=1).ids]
        assert len(cut) == len(set(cut)) == 1200


def test_a_cursor_stays_on_its_generation_and_can_be_closed(tmp_path):
    documents = [Document(f"d{number:02}", f"zip file {number}") for number in range(30)]
    Index.build(documents, tmp_path / "index", encoder=None).close()
    with Index.open(tmp_path / "index", mode="w") as index:
        cursor = index.cursor("zip file", 10)
        first = next(cursor)
        generation = cursor.generation
        index.delete([f"d{number:02}" for number in range(25)])
        assert len(index.search("zip file", 30)) == 5
        rest = list(cursor)
        assert cursor.generation == generation
        assert sorted(name for page in [first, *rest] for name in page.ids) == [one.id for one in documents]
        assert rest[0][0].text.startswith("zip file")
        cursor.close()
        with pytest.raises(errors.ClosedError, match="this cursor is closed"):
            next(cursor)
        assert first[0].text.startswith("zip file"), "a page that is held can be read on"


def test_later_pages_are_found_together(snapshot_of):
    documents, encodings = adversarial(0)
    snapshot = snapshot_of(documents, encodings, 9)
    query = random_query(np.random.default_rng(4))
    with Cursor(
        Prepared(query, plan(2, {"dense": 1.0})), snapshot, snapshot.allowed(None), explain=True, spelling=None
    ) as cursor:
        plans = [page.explain().plan.offset for page in cursor]
    assert len(set(plans)) < 7


def test_what_was_done_for_earlier_pages_is_told_once(snapshot_of):
    documents = [Document(f"d{number:03}", "zip file") for number in range(300)]  # all tie
    snapshot = snapshot_of(documents, None, 100)
    query = Query.of(None, {"zip": 1})
    ranking = rank(query, snapshot, snapshot.allowed(None), plan(10, {"bm25": 1.0}, offset=75))
    settled = [one.documents for one in ranking.trace.rounds]
    assert set(settled) == {10, 20, 40, 80, 160}
    assert settled == sorted(settled)
    for number in set(settled):
        assert f"at rank {number:,}, " in str(Explanation.of(ranking, 1.0))
    steps = ranking.trace.steps
    known = sum(steps.pop("search").values()) + sum(steps.values()) - steps["overhead"]
    assert known <= ranking.trace.seconds
