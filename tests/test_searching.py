"""What can be asked of an index: plans, presets, browsing, batches, async callers, many threads at once."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from m3search import Document, Encodings, Index, errors

WORDS = "zip archive read write socket http json parse thread lock queue file path time".split()
COUNT, DIM, VOCAB = 120, 8, 300


def made(seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(COUNT, DIM)).astype(np.float32)
    lexical = sparse.random_array((COUNT, VOCAB), density=0.05, rng=rng, format="csr", dtype=np.float32)
    tokens = [rng.normal(size=(rng.integers(1, 4), 4)).astype(np.float32) for _ in range(COUNT)]
    documents = [Document(f"d{number:03}", " ".join(rng.choice(WORDS, rng.integers(2, 9)))) for number in range(COUNT)]
    return documents, Encodings(dense, lexical, tokens)


def query(seed):
    rng = np.random.default_rng([seed, 1])
    lexical = sparse.random_array((1, VOCAB), density=0.05, rng=rng, format="csr", dtype=np.float32)
    text = " ".join(rng.choice(WORDS, 3))
    return text, Encodings(
        rng.normal(size=(1, DIM)).astype(np.float32), lexical, [rng.normal(size=(3, 4)).astype(np.float32)]
    )


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    """The same documents in segments of 7, of 50, and in one."""
    documents, encodings = made()
    folder = tmp_path_factory.mktemp("searching")
    opened = [
        Index.build(documents, folder / str(size), encoder=None, encodings=encodings, colbert="int8", segment_size=size)
        for size in (7, 50, 1000)
    ]
    yield opened
    for index in opened:
        index.close()


WEIGHTS = st.dictionaries(st.sampled_from(["dense", "lexical", "bm25"]), st.floats(0.01, 10), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 30),
    weights=WEIGHTS,
    k=st.integers(1, COUNT + 5),
    offset=st.integers(0, 40),
    depth=st.none() | st.integers(1, 200),
    some=st.none() | st.sets(st.integers(0, COUNT - 1), min_size=1),
)
def test_a_score_depends_on_nothing_but_query_and_document(indexes, seed, weights, k, offset, depth, some):
    """Not on k, offset, depth, filter, segments, batch, nor on the leg that found the document."""
    text, encodings = query(seed)
    truth = {
        hit.id: (hit.score, dict(hit.parts))
        for hit in indexes[-1].search(text, COUNT, weights=weights, encodings=encodings)
    }
    ids = None if some is None else [f"d{number:03}" for number in some]
    answers = []
    for index in indexes:
        hits = index.search(text, k, weights=weights, encodings=encodings, offset=offset, depth=depth, ids=ids)
        for hit in hits:
            assert truth[hit.id] == (hit.score, dict(hit.parts))
        answers.append((hits.ids, [hit.rank for hit in hits]))
    assert answers[0] == answers[1] == answers[2]
    wanted = [name for name in truth if ids is None or name in set(ids)][offset : offset + k]
    ties = len({truth[name][0] for name in truth}) < len(truth)
    assert answers[0][0] == wanted or ties
    assert answers[0][1] == list(range(offset + 1, offset + 1 + len(answers[0][0])))


def test_a_batch_answers_like_single_searches(indexes):
    index = indexes[0]
    asked = [query(seed)[1] for seed in range(20)]
    batch = index.search_batch(asked, 7, weights="m3", threads=4, offset=2)
    alone = [index.search(one, 7, weights="m3", offset=2) for one in asked]
    assert [hits.ids for hits in batch] == [hits.ids for hits in alone]
    assert [[hit.score for hit in hits] for hits in batch] == [[hit.score for hit in hits] for hits in alone]
    with pytest.raises(errors.QueryError, match="search_batch takes no encodings beside its queries"):
        index.search_batch(asked, encodings=asked[0])


def test_a_plan_is_shown_compared_and_followed(indexes):
    text, encodings = query(1)
    index = indexes[1]
    plan = index.plan(text, 5, encodings=encodings, weights={"dense": 1, "lexical": 0.3, "colbert": 1}, rerank=30)
    assert str(plan).splitlines() == [
        "top 5: certified blend",
        "├─ dense, weight 1: proposes 100",
        "├─ lexical, weight 0.3: proposes 100",
        "├─ weighted mean of raw scores, every candidate completed",
        "├─ certificate: twice as deep until no unseen document can belong to the answer",
        "└─ rerank of 30 documents by dense 1, lexical 0.3, colbert 1",
    ]
    assert plan == index.plan(text, 5, encodings=encodings, weights="m3", rerank=30)
    assert plan != index.plan(text, 6, encodings=encodings, weights="m3", rerank=30)
    assert json.loads(json.dumps(plan.to_dict()))["depths"] == {"dense": 100, "lexical": 100}
    followed = index.search(text, plan=plan, encodings=encodings)
    direct = index.search(text, 5, encodings=encodings, weights="m3", rerank=30)
    assert (followed.ids, followed.guarantee) == (direct.ids, direct.guarantee)
    limited = index.plan(text, 5, encodings=encodings, max_ms=2.5, max_candidates=1000, offset=3)
    assert str(limited).startswith("ranks 4 to 8: ")
    assert "or 2.5 ms or 1,000 candidates are spent" in str(limited)
    few = index.plan(text, 5, encodings=encodings, ids=["d001"])
    assert few.strategy == "score of all that is allowed"
    assert "scores every allowed passage" in str(few)
    assert "fused lists" in str(index.plan(text, encodings=encodings, fusion="rrf"))


def test_a_plan_must_fit_the_query(indexes):
    text, encodings = query(1)
    plan = indexes[0].plan(text, encodings=encodings)
    with pytest.raises(errors.QueryError, match=r"plan is a str: give what index\.plan"):
        indexes[0].search(text, encodings=encodings, plan="dense")
    with pytest.raises(errors.QueryError, match="dense weighs 1, but the query has nothing for it"):
        indexes[0].search(text, plan=plan)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("m3", {"dense": 1, "lexical": 0.3, "colbert": 1}),
        ("m3-long", {"dense": 0.15, "lexical": 0.5, "colbert": 0.35}),
        ("m3-readme", {"dense": 0.4, "lexical": 0.2, "colbert": 0.4}),
    ],
)
def test_presets_are_the_published_blends(indexes, name, weights):
    text, encodings = query(3)
    preset = indexes[0].search(text, encodings=encodings, weights=name)
    written = indexes[0].search(text, encodings=encodings, weights=weights)
    assert (preset.ids, [hit.score for hit in preset]) == (written.ids, [hit.score for hit in written])
    # without token vectors the others keep their proportion
    bare = Encodings(encodings.dense, encodings.lexical)
    without = {leg: weight for leg, weight in weights.items() if leg != "colbert"}
    assert indexes[0].search(bare, weights=name).ids == indexes[0].search(bare, weights=without).ids


def test_weights_come_from_the_query_else_from_the_index(tmp_path):
    documents, encodings = made()
    stored = {"dense": 0.2, "bm25": 3}
    Index.build(documents, tmp_path / "i", encoder=None, encodings=encodings, weights=stored).close()
    text, asked = query(0)
    with Index.open(tmp_path / "i") as index:
        assert index.plan(text, encodings=asked).weights == stored
        assert index.plan(text, encodings=asked, weights="lexical=1").weights == {"lexical": 1}
        assert index.search(text, encodings=asked).ids == index.search(text, encodings=asked, weights=stored).ids
    with Index.build(["zip file"], encoder=None, weights="bm25=2") as index:
        assert index.plan("zip").weights == {"bm25": 2}
    with pytest.raises(errors.WeightsError, match="weights name dense, which this index will not have"):
        Index.build(["zip file"], encoder=None, weights="dense=1,bm25=1")
    with Index.build(
        ["zip"], encoder=None, encodings=Encodings(dense=np.ones((1, 2), np.float32)), weights="m3"
    ) as index:
        assert index.plan(Encodings(dense=np.ones((1, 2), np.float32))).weights == {"dense": 1}


def test_a_preset_that_has_nothing_here_says_so():
    with (
        Index.build(["zip file"], encoder=None) as index,
        pytest.raises(
            errors.WeightsError, match="the preset m3 weighs dense, lexical, colbert, of which there is none"
        ),
    ):
        index.search("zip", weights="m3")


def test_nothing_asked_of_some_documents_lists_them(indexes):
    for index in indexes:
        hits = index.search("", 3, ids=["d020", "d003", "nobody", "d100", "d050"], offset=1)
        assert (hits.ids, [hit.rank for hit in hits], hits.guarantee) == (["d020", "d050", "d100"], [2, 3, 4], "exact")
        assert [hit.score for hit in hits] == [0, 0, 0]
        assert hits[0].parts == {}
        assert hits[0].text
        assert index.plan("", ids=["d001"]).strategy == "all that is allowed, by id"
        assert len(index.search("")) == 0
        with index.cursor("  ", 2, ids=[f"d{number:03}" for number in range(5)]) as cursor:
            assert [page.ids for page in cursor] == [["d000", "d001"], ["d002", "d003"], ["d004"]]


def test_explanations_are_kept_where_they_are_asked_for(indexes):
    text, encodings = query(2)
    hits = indexes[0].search(text, 3, encodings=encodings, weights="m3", explain=True)
    assert "round 1" in str(hits.explain())
    assert str(hits[0].explain()).startswith(f"{hits[0].id}: {hits[0].score:.6f}")
    record = json.loads(json.dumps(hits.to_dict(), allow_nan=False))
    assert record["explanation"]["plan"]["k"] == 3
    parts = record["hits"][0]["explanation"]["parts"]
    assert sum(part["contribution"] for part in parts) == pytest.approx(hits[0].score, abs=1e-6)
    silent = indexes[0].search(text, 3, encodings=encodings)
    for one in (silent, silent[0]):
        with pytest.raises(errors.QueryError, match="search with explain=True"):
            one.explain()
    assert "explanation" not in silent.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "offset is -1: give a whole number from 0"),
        ({"offset": 2.0}, "offset is 2.0"),
        ({"depth": 0}, "depth is 0: give a whole number from 1"),
        ({"max_candidates": 0}, "max_candidates is 0"),
        ({"max_ms": 0}, "max_ms is 0: give a number of milliseconds above 0"),
        ({"max_ms": float("nan")}, "max_ms is nan"),
        ({"fusion": "mean"}, "fusion is 'mean': give one of raw, rrf, minmax, zscore"),
        ({"missing": "skip"}, "missing is 'skip'"),
    ],
)
def test_options_out_of_range_say_so(indexes, options, message):
    with pytest.raises(errors.QueryError, match=message):
        indexes[0].search("zip", weights="bm25=1", **options)


def test_async_callers_get_the_same_answer(indexes):
    asked = [query(seed)[1] for seed in range(12)]

    async def together():
        return await asyncio.gather(*(indexes[0].asearch(one, 5, weights="m3") for one in asked))

    answers = asyncio.run(together())
    assert [hits.ids for hits in answers] == [indexes[0].search(one, 5, weights="m3").ids for one in asked]


def test_texts_from_many_threads_go_through_one_encoder(tmp_path):
    checkpoint = Path(__file__).parent / "golden" / "checkpoint"
    texts = [f"{WORDS[number % 14]} {WORDS[number % 13]} {WORDS[number % 11]}" for number in range(40)]
    with Index.build(texts, tmp_path / "i", encoder=checkpoint, colbert="int8", progress=False) as index:
        blend = {"dense": 1, "lexical": 1, "bm25": 1, "colbert": 1}
        quiet = [index.search(text, 5, weights=blend) for text in texts]
        with ThreadPoolExecutor(8) as pool:
            busy = list(pool.map(lambda text: index.search(text, 5, weights=blend), texts * 3))
        for one, two in zip(quiet * 3, busy, strict=True):
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in two], abs=1e-6)


def test_many_threads_search_one_index(indexes):
    """Every answer must be that of a quiet index, whatever else runs: scratch is a thread's own."""
    index = indexes[1]
    blends = ["m3", "bm25=1", "lexical=1", "dense=1,bm25=1", "colbert=1"]
    jobs = [(seed, blend) for seed in range(30) for blend in blends]

    def ask(job):
        text, encodings = query(job[0])
        hits = index.search(text, 9, encodings=encodings, weights=job[1], explain=True)
        return hits.ids, [hit.score for hit in hits], hits[0].text if hits else ""

    quiet = [ask(job) for job in jobs]
    start = threading.Barrier(8)

    def worker(number):
        start.wait()
        order = np.random.default_rng(number).permutation(len(jobs))
        return [(int(at), ask(jobs[at])) for at in order]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(worker, range(8)):
            assert all(answer == quiet[at] for at, answer in answers)
