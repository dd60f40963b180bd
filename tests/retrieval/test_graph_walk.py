"""The compiled walk against FAISS's own search of the same graph: the same passages, whatever graph, effort and query."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from m3search.retrieval import graph_walk
from m3search.retrieval.dense import inner_products
from m3search.retrieval.products import scores_of, walked
from m3search.storage import DenseIndex

DIMS = [1, 3, 16, 63, 64, 65, 384]


def vectors(count, dim, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(30, dim))
    made = centers[rng.integers(0, 30, count)] + 0.5 * rng.normal(size=(count, dim))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def index_of(made, links=8, construction=40):
    index = faiss.IndexHNSWSQ(made.shape[1], faiss.ScalarQuantizer.QT_8bit, links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = construction
    index.train(made)
    index.add(made)
    return DenseIndex.made("hnsw", index)


def walk(index, query, made, wanted, effort):
    return walked(query, query.astype(np.float64), made, index, wanted, effort)


def same(index, made, query, wanted, effort):
    """Whether walk and FAISS agree, but for passages whose codes score so alike that float32 puts them either way."""
    rows, scores = walk(index, query, made, wanted, effort)
    exact = inner_products(query, made, np.arange(len(made)))
    assert scores.tobytes() == exact[rows].tobytes(), "a score that completion would not give"
    assert (np.lexsort((rows, -scores)) == np.arange(len(rows))).all()
    assert len(set(rows.tolist())) == len(rows)
    found = index.nearest(query, wanted, effort)
    assert len(rows) == len(found)
    codes = index.faiss
    only = set(rows.tolist()) ^ set(found.tolist())
    if not only:
        return True
    decoded = np.array([codes.reconstruct(int(row)) @ query for row in [*only]])
    last = min(codes.reconstruct(int(row)) @ query for row in found)
    return bool(np.abs(decoded - last).max() < 1e-5)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("links", [4, 8, 24])
def test_it_finds_what_faiss_finds(dim, links):
    made = vectors(1500, dim)
    index = index_of(made, links)
    queries = vectors(20, dim, seed=1)
    agreed = [
        same(index, made, query, wanted, effort)
        for query in queries
        for wanted, effort in ((1, 1), (1, 10), (5, 10), (10, 40), (100, 300), (900, 1000))
    ]
    # equal vectors and one dimension leave many ties, which lead two walks different ways
    assert np.mean(agreed) >= (0.99 if dim > 3 else 0.5), np.mean(agreed)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 70])
def test_small_graphs_are_walked_to_the_end(count):
    made = vectors(count, 12)
    index = index_of(made)
    for wanted in (1, count, count + 5):
        rows, _ = walk(index, vectors(1, 12, seed=3)[0], made, wanted, max(wanted, 100))
        assert len(rows) == min(wanted, count)


def test_equal_vectors_are_each_found_once():
    made = np.repeat(vectors(3, 12), 100, axis=0)
    rows, scores = walk(index_of(made), made[0], made, 150, 300)
    assert len(set(rows.tolist())) == len(rows)
    assert scores[0] == pytest.approx(1)


def test_more_walks_than_a_byte_counts():
    made, queries = vectors(400, 12), vectors(5, 12, seed=1)
    index = index_of(made)
    first = [walk(index, query, made, 20, 60)[0].tolist() for query in queries]
    for _ in range(120):
        assert [walk(index, query, made, 20, 60)[0].tolist() for query in queries] == first


def test_a_thread_keeps_one_scratch_for_all_its_indexes():
    small, large = vectors(50, 6), vectors(900, 24)
    indexes = [index_of(small), index_of(large)]
    expected = [
        walk(indexes[0], small[3], small, 9, 30)[0].tolist(),
        walk(indexes[1], large[3], large, 9, 30)[0].tolist(),
    ]
    for _ in range(3):
        assert walk(indexes[0], small[3], small, 9, 30)[0].tolist() == expected[0]
        assert walk(indexes[1], large[3], large, 9, 30)[0].tolist() == expected[1]
    assert len(graph_walk.walk_scratch(indexes[0])) == len(graph_walk.walk_scratch(indexes[1]))


def test_threads_do_not_share_what_they_work_in():
    made, queries = vectors(2000, 32), vectors(60, 32, seed=1)
    index = index_of(made)
    alone = [walk(index, query, made, 20, 60)[0].tolist() for query in queries]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert [rows.tolist() for rows, _ in pool.map(lambda q: walk(index, q, made, 20, 60), queries)] == alone


def test_links_to_passages_that_are_not_there_lead_nowhere():
    """A graph whose links and offsets were overwritten: its checksum would be refused, and still nothing outside is read."""
    made = vectors(300, 12)
    index = index_of(made)
    links = faiss.rev_swig_ptr(index.faiss.hnsw.neighbors.data(), index.faiss.hnsw.neighbors.size())
    rng = np.random.default_rng(0)
    links[:] = np.where(rng.random(len(links)) < 0.2, rng.integers(300, 2**31, len(links)), links)
    offsets = faiss.rev_swig_ptr(index.faiss.hnsw.offsets.data(), index.faiss.hnsw.offsets.size())
    for damage in (0, 2**63 + 5, 2**62, len(links) - 1):
        offsets[rng.random(len(offsets)) < 0.1] = damage
        for query in vectors(20, 12, seed=1):
            rows, _ = walk(index, query, made, 10, 50)
            assert ((rows >= 0) & (rows < 300)).all()


def test_rows_that_are_not_there_are_scored_as_others():
    made = vectors(5, 12)
    scores = scores_of(made[0].astype(np.float64), made, np.array([-1, 4, 5, 2**62, -(2**62)]))
    assert scores.tolist() == inner_products(made[0], made, np.array([0, 4, 4, 4, 0])).tolist()
