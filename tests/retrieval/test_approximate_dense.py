"""The dense leg over HNSW and IVF against brute force: any filter, deletes, depths and efforts."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3search import Document, Encodings, Index
from m3search.retrieval import DenseLeg, Query, products
from m3search.storage import DenseIndex, Environment, Snapshot

COUNT, DIM, CLUSTERS = 12_000, 64, 60  # fewer are not worth a walk through a graph
SETTINGS = {"hnsw": {"M": 8, "efConstruction": 80}, "ivf": {"nlist": 64}}
CASES = [(kind, size) for kind in SETTINGS for size in (COUNT, 8000)]


def world(count=COUNT, seed=0):
    """Unit vectors around centers, and which center each belongs to."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(CLUSTERS, DIM))
    owners = rng.integers(0, CLUSTERS, count)
    made = centers[owners] + 0.7 * rng.normal(size=(count, DIM))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32), owners


VECTORS, OWNERS = world()
QUERIES = world(40, seed=1)[0]


def build(path, vectors, kind, size=COUNT, options=None):
    documents = [Document(str(number), "") for number in range(len(vectors))]
    Index.build(
        documents,
        path,
        encoder=None,
        bm25=False,
        encodings=Encodings(dense=vectors),
        segment_size=size,
        dense=kind,
        dense_options=SETTINGS[kind] if options is None else options,
        threads=1,
    ).close()


@contextmanager
def opened(path):
    environment = Environment.open(path / "store")
    try:
        with Snapshot.latest(environment, path) as snapshot:
            yield snapshot
    finally:
        environment.close()


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dense")
    with ExitStack() as stack:
        made = {}
        for kind, size in CASES:
            build(folder / f"{kind}{size}", VECTORS, kind, size)
            made[kind, size] = stack.enter_context(opened(folder / f"{kind}{size}"))
        yield made


def asked(vector, effort=None):
    return Query.of(Encodings(dense=vector[None]), None, effort)


def search(snapshot, vector, mask=None, depth=100, effort=None):
    allowed = [None] * len(snapshot.segments)
    if mask is not None:
        allowed = [np.packbits(mask[s.base : s.base + s.info.passages], bitorder="little") for s in snapshot.segments]
    return DenseLeg().search(asked(vector, effort), snapshot, allowed, depth)


def check(snapshot, found, vector, mask, depth):
    """What holds for every answer, proven or not."""
    docids = found.docids
    assert len(docids) == min(depth, mask.sum()), "fewer than are allowed"
    assert len(set(docids.tolist())) == len(docids)
    assert mask[docids].all(), "a passage that is not allowed"
    completed = DenseLeg().complete(asked(vector), snapshot, np.arange(len(mask)))
    if found.exact:
        assert found.scores.tobytes() == completed[docids].tobytes()
    assert np.abs(found.scores - completed[docids]).max(initial=0) <= found.slack
    assert (np.lexsort((docids, -found.scores)) == np.arange(len(docids))).all()
    if not found.approximate:
        outside = mask.copy()
        outside[docids] = False
        assert (completed[outside] <= found.bound + found.slack).all()
    return recall(found, vector, mask, depth)


def recall(found, vector, mask, depth):
    scores = np.where(mask, VECTORS @ vector, -np.inf)
    best = np.argsort(-scores)[: min(depth, mask.sum())]
    return len(set(best.tolist()) & set(found.docids.tolist())) / max(1, len(best))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("depth", [1, 10, 100])
def test_what_is_proposed_is_nearly_all_and_its_scores_are_exact(snapshots, case, depth):
    everything = np.ones(COUNT, bool)
    found = [search(snapshots[case], vector, depth=depth) for vector in QUERIES]
    shares = [check(snapshots[case], one, v, everything, depth) for one, v in zip(found, QUERIES, strict=True)]
    assert np.mean(shares) >= 0.95
    assert any(one.approximate for one in found)
    assert all(one.effort <= 64 for one in found) or case[0] == "hnsw"


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_as_many_are_found_as_are_allowed_whatever_the_filter(snapshots, case, data):
    share = data.draw(st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999, 1.0]))
    depth = data.draw(st.sampled_from([1, 7, 100, 900, 11_999, 12_000, 20_000]))
    effort = data.draw(st.sampled_from([None, None, 1, 50, 10_000, 10**9]))
    seed = data.draw(st.integers(0, 2**32))
    by_cluster = data.draw(st.booleans())
    rng = np.random.default_rng(seed)
    mask = (rng.random(CLUSTERS) < share)[OWNERS] if by_cluster else rng.random(COUNT) < share
    vector = QUERIES[seed % len(QUERIES)]
    found = search(snapshots[case], vector, mask, depth, effort)
    check(snapshots[case], found, vector, mask, depth)
    if mask.sum() <= depth:
        assert not found.approximate
        assert found.bound == -np.inf


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.7])
def test_a_filter_takes_little_from_recall(snapshots, case, share):
    mask = np.random.default_rng(3).random(COUNT) < share
    shares = [check(snapshots[case], search(snapshots[case], vector, mask, 50), vector, mask, 50) for vector in QUERIES]
    assert np.mean(shares) >= 0.92


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_filter_far_from_the_query_is_no_hole(snapshots, case):
    """Only passages of the cluster that is farthest from the query, or all but those that are nearest to it."""
    for vector in QUERIES[:10]:
        scores = np.array([(VECTORS[cluster == OWNERS] @ vector).mean() for cluster in range(CLUSTERS)])
        for mask in (scores.argmin() == OWNERS, scores[OWNERS] < np.sort(scores)[-6]):
            found = search(snapshots[case], vector, mask, 20)
            assert check(snapshots[case], found, vector, mask, 20) >= 0.8


def test_effort_rises_as_selectivity_falls_until_the_allowed_are_scored(snapshots):
    snapshot, vector = snapshots["hnsw", COUNT], QUERIES[0]
    efforts = []
    for step in (1, 2, 3, 4, 100):
        mask = np.zeros(COUNT, bool)
        mask[::step] = True
        efforts.append(search(snapshot, vector, mask, 10, effort=40).effort)
    assert efforts[:2] == [40, 80]
    assert efforts[1] <= efforts[2]
    assert efforts[-1] == 0


def test_more_effort_finds_more(snapshots):
    for case in CASES:
        everything = np.ones(COUNT, bool)
        found = [
            np.mean([recall(search(snapshots[case], v, None, 10, effort), v, everything, 10) for v in QUERIES])
            for effort in ((14, 40, 160) if case[0] == "hnsw" else (1, 4, 40))
        ]
        assert found[0] < found[-1], (case, found)
        assert found == sorted(found), (case, found)
        assert found[-1] >= 0.97


def test_a_depth_beyond_the_measured_one_takes_more_effort(snapshots):
    snapshot = snapshots["ivf", COUNT]
    measured = snapshot.segments[0].info.statistics["dense_effort"]
    assert search(snapshot, QUERIES[0], None, 100).effort == measured
    assert search(snapshot, QUERIES[0], None, 10).effort == measured
    deeper = search(snapshot, QUERIES[0], None, 220).effort
    assert deeper in {0, min(64, int(np.ceil(measured * 2.2)))}


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_where_the_walk_ends_early_it_is_begun_again_with_more_effort(snapshots, kind, monkeypatch):
    """One list of 64, or no way out of a neighbourhood: fewer than are wanted, at first."""
    snapshot, vector = snapshots[kind, COUNT], QUERIES[0]
    asked_for = []
    nearest, walked = DenseIndex.nearest, products.walked

    def shy(self, vector, count, effort, bitmap=None):
        asked_for.append(effort)
        return nearest(self, vector, count, effort, bitmap)[: 5 if len(asked_for) < 3 else count]

    def shy_walk(vector, wide, vectors, index, wanted, effort):
        asked_for.append(effort)
        rows, scores = walked(vector, wide, vectors, index, wanted, effort)
        return (rows[:5], scores[:5]) if len(asked_for) < 3 else (rows, scores)

    monkeypatch.setattr(DenseIndex, "nearest", shy)
    monkeypatch.setattr(products, "walked", shy_walk)
    first = 14 if kind == "hnsw" else 3
    found = search(snapshot, vector, None, 10, effort=first)
    assert asked_for == [first, 2 * first, 4 * first]
    assert found.effort == 4 * first
    monkeypatch.setattr(DenseIndex, "nearest", lambda *_: np.zeros(0, np.int64))
    monkeypatch.setattr(products, "walked", lambda *_: (np.zeros(0, np.int64), np.zeros(0)))
    found = search(snapshot, vector, None, 10, effort=first)
    assert not found.approximate
    assert check(snapshot, found, vector, np.ones(COUNT, bool), 10) == 1


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_deleted_documents_are_not_found(tmp_path, kind):
    build(tmp_path / "i", VECTORS, kind)
    dead = np.random.default_rng(5).random(COUNT) < 0.4
    with Index.open(tmp_path / "i", mode="w", merging="manual") as index:
        index.delete([str(number) for number in np.flatnonzero(dead)])
        for vector in QUERIES[:5]:
            hits = index.search(Encodings(dense=vector[None]), 30)
            assert len(hits) == 30
            assert not dead[[int(hit.id) for hit in hits]].any()
            assert hits.guarantee in {"exact over candidates", "exact"}
    with opened(tmp_path / "i") as snapshot:
        shares = []
        for vector in QUERIES:
            found = DenseLeg().search(asked(vector), snapshot, snapshot.allowed(None), 30)
            shares.append(check(snapshot, found, vector, ~dead, 30))
        assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("kind", list(SETTINGS))
@pytest.mark.parametrize("count", [1, 2, 5, 17, 40])
def test_tiny_segments_and_more_lists_than_passages(tmp_path, kind, count):
    options = {"nlist": 1000} if kind == "ivf" else {"M": 128, "efConstruction": 4096}
    build(tmp_path / "i", VECTORS[:count], kind, 16, options)
    with opened(tmp_path / "i") as snapshot:
        assert all(segment.dense_index is not None for segment in snapshot.segments)
        for depth in (1, 3, count, count + 1, 1000):
            for vector in QUERIES[:3]:
                found = search(snapshot, vector, None, depth)
                assert len(found) == min(depth, count)
                completed = DenseLeg().complete(asked(vector), snapshot, np.arange(count))
                best = np.sort(completed)[::-1][:depth]
                assert found.scores == pytest.approx(best, abs=found.slack + 1e-12)


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_queries_that_float32_does_not_hold_are_scored_exactly(snapshots, kind):
    snapshot = snapshots[kind, COUNT]
    for scale in (0.0, 3e38, 1e-44):
        vector = (QUERIES[0] * np.float32(scale)).astype(np.float32)
        found = search(snapshot, vector, None, 10)
        assert not found.approximate
        assert len(found) == 10
    nothing = DenseLeg().search(Query.of(None, None), snapshot, [None], 10)
    assert nothing.scores.tolist() == [0] * 10
    assert not nothing.approximate


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_lengths_that_differ_a_thousandfold_are_no_reason_to_miss(tmp_path, kind):
    lengths = np.random.default_rng(8).lognormal(0, 1, (COUNT, 1)).astype(np.float32)
    made = VECTORS * lengths
    build(tmp_path / "i", made, kind)
    with opened(tmp_path / "i") as snapshot:
        shares = []
        for vector in QUERIES:
            best = np.argsort(-(made @ vector))[:10]
            shares.append(len(set(best.tolist()) & set(search(snapshot, vector, None, 10).docids.tolist())) / 10)
        assert np.mean(shares) >= (0.95 if kind == "hnsw" else 0.6), np.mean(shares)


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_vectors_that_are_too_long_for_float32_are_searched_exhaustively(tmp_path, kind):
    made = VECTORS[:300] * np.float32(1e20)
    build(tmp_path / "i", made, kind)
    with opened(tmp_path / "i") as snapshot:
        assert snapshot.segments[0].dense_index is None
        assert search(snapshot, QUERIES[0], None, 10).docids.tolist() == np.argsort(-(made @ QUERIES[0]))[:10].tolist()


def test_many_equal_vectors_are_all_found(tmp_path):
    made = np.repeat(VECTORS[:20], 300, axis=0)
    for kind in SETTINGS:
        build(tmp_path / kind, made, kind)
        with opened(tmp_path / kind) as snapshot:
            for row in (0, 7, 19):
                found = search(snapshot, VECTORS[row], None, 200)
                assert len(found) == 200
                assert found.scores[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_threads_get_what_one_gets(snapshots, kind):
    from concurrent.futures import ThreadPoolExecutor

    snapshot = snapshots[kind, COUNT]
    alone = [search(snapshot, vector).docids.tolist() for vector in QUERIES]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert [found.docids.tolist() for found in pool.map(lambda v: search(snapshot, v), QUERIES)] == alone
