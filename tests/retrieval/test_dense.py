"""The dense leg where float32 is at its limits: it still bounds what it leaves out, and completion stays exact."""

from __future__ import annotations

import numpy as np
import pytest
from generated import Collection, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3search import Document, Encodings
from m3search.retrieval import DenseLeg, Query
from m3search.retrieval.dense import exhaustive, inner_products, nearest_allowed, rounding

F32 = st.floats(-(2.0**120), 2.0**120, width=32)


@settings(deadline=None)
@given(
    st.integers(1, 40).flatmap(lambda n: hnp.arrays(np.float32, (2, n), elements=F32)),
    st.randoms(use_true_random=False),
)
def test_no_order_of_summation_is_off_by_more_than_rounding_says(pair, random):
    query, document = pair
    exact = float((query.astype(np.longdouble) * document.astype(np.longdouble)).sum())
    slack = rounding(query, float(np.linalg.norm(document.astype(np.float64))))
    order = list(range(len(query)))
    for _ in range(3):
        random.shuffle(order)
        total = np.float32(0)
        with np.errstate(all="ignore"):
            for place in order:
                total += query[place] * document[place]
        if slack < np.inf:
            assert abs(float(total) - exact) <= slack
        elif not np.isfinite(total):
            break


def test_rounding_is_infinite_only_where_numbers_overflow():
    unit = np.full(4, 0.5, np.float32)
    assert 0 < rounding(unit, 1.0) < 1e-6
    assert rounding(unit, 1e38) < np.inf
    assert rounding(unit, 3e38) == np.inf
    assert rounding(np.empty(0, np.float32), 1.0) == 0


@pytest.mark.parametrize("dim", [1, 2, 7, 8, 9, 384, 1024])
def test_an_inner_product_is_the_same_in_any_company(dim):
    rng = np.random.default_rng(dim)
    count = 5000 if dim < 100 else 300  # more rows than are turned to float64 at a time
    matrix, query = rng.normal(size=(count, dim)).astype(np.float32), rng.normal(size=dim).astype(np.float32)
    everything = inner_products(query, matrix, np.arange(count))
    assert everything == pytest.approx(matrix.astype(np.float64) @ query.astype(np.float64), abs=1e-10)
    for size in (1, 2, 3, 17, 299):
        rows = rng.permutation(count)[:size]
        assert inner_products(query, matrix, rows).tobytes() == everything[rows].tobytes()
        shifted = np.empty(count * dim + 3, np.float32)[3:].reshape(count, dim)  # another alignment
        shifted[:] = matrix
        assert inner_products(query, shifted, rows).tobytes() == everything[rows].tobytes()


def hard(kind):
    """Vectors that float32 products get wrong, and a query."""
    rng = np.random.default_rng(4)
    vectors, query = rng.normal(size=(60, 16)), rng.normal(size=16)
    if kind == "huge":
        vectors, query = vectors * 1e30, query * 1e20
    elif kind == "tiny":
        vectors, query = vectors * 1e-22, query * 1e-22
    elif kind == "subnormal":
        vectors *= 1e-42
    elif kind == "one giant":
        vectors[7] *= 1e9
        vectors[7] -= query * (vectors[7] @ query) / (query @ query)  # long, and of next to no score
    elif kind == "cancelling":
        vectors[:, 8:] = -vectors[:, :8]
        query[8:] = query[:8]
        vectors[:, 0] += rng.normal(size=60) * 1e-7
    elif kind == "zero query":
        query[:] = 0
    elif kind == "equal":
        vectors[:] = vectors[0]
    elif kind == "near":
        vectors[:] = np.nextafter(vectors[0].astype(np.float32), np.float32(9), dtype=np.float32)
        vectors += rng.integers(-2, 3, vectors.shape) * 1e-7
    return vectors.astype(np.float32), query.astype(np.float32)


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize(
    "kind", ["plain", "huge", "tiny", "subnormal", "one giant", "cancelling", "zero query", "equal", "near"]
)
def test_the_bound_holds_where_float32_is_at_its_limits(tmp_path, kind, size):
    vectors, vector = hard(kind)
    documents = [Document(f"d{number}", "") for number in range(60)]
    made = Collection(documents, Encodings(dense=vectors, offsets=np.arange(61)))
    query = Query.of(Encodings(dense=vector[None]), None)
    exact = vectors.astype(np.longdouble) @ vector.astype(np.longdouble)
    with snapshot(tmp_path / "i", made, size, colbert=None) as opened:
        completed = DenseLeg().complete(query, opened, np.arange(60))
        # what float64 may round, of numbers as long as these, in any order
        lengths = np.linalg.norm(vectors.astype(float), axis=1) * np.linalg.norm(vector.astype(float))
        assert (np.abs(completed - exact.astype(float)) <= 2**-53 * (16 + 1) * lengths + 1e-300).all()
        for depth in (1, 5, 30):
            found = DenseLeg().search(query, opened, opened.allowed(None), depth)
            assert len(set(found.docids.tolist())) == depth
            outside = np.setdiff1d(np.arange(60), found.docids)
            assert (completed[outside] <= found.bound + found.slack).all()
            assert np.abs(found.scores - completed[found.docids]).max() <= found.slack
            # what is called a tie further on is small beside the scores
            assert found.slack <= 2**-10 * np.abs(completed).max()
            best = np.sort(completed)[::-1][:depth]
            assert np.abs(found.scores - best).max() <= found.slack


def test_ordinary_vectors_are_proposed_by_float32(tmp_path):
    vectors, vector = hard("plain")
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    documents = [Document(f"d{number}", "") for number in range(60)]
    made = Collection(documents, Encodings(dense=vectors, offsets=np.arange(61)))
    query = Query.of(Encodings(dense=vector[None] / np.linalg.norm(vector)), None)
    with snapshot(tmp_path / "i", made, 100, colbert=None) as opened:
        found = DenseLeg().search(query, opened, opened.allowed(None), 5)
        assert 0 < found.slack < 1e-5
        assert found.postings == 60


@pytest.mark.parametrize("share", [0.05, 0.59, 0.61, 0.9, 1.0])
@pytest.mark.parametrize("scattered", [True, False], ids=["scattered", "the nearest are not allowed"])
def test_the_nearest_allowed_are_those_that_a_search_finds_that_asks_of_every_vector(share, scattered):
    rng = np.random.default_rng(7)
    vectors = rng.integers(-2, 3, (2000, 6)).astype(np.float32)  # many scores are equal
    for depth in (1, 10, 101):
        vector = rng.normal(size=6).astype(np.float32)
        order = rng.permutation(2000) if scattered else np.argsort(vectors @ vector)
        allowed = np.zeros(2000, bool)
        allowed[order[: round(share * 2000)]] = True
        count, bitmap = int(allowed.sum()), np.packbits(allowed, bitorder="little")
        if count < depth:
            continue
        rows, scores = nearest_allowed(vector, vectors, bitmap, count, depth)
        expected_rows, expected = exhaustive(vector, vectors, bitmap, depth)
        assert scores.tolist() == expected.tolist()
        assert allowed[rows].all()
        assert len(set(rows.tolist())) == depth
        surely = scores > scores[-1]
        assert set(rows[surely].tolist()) == set(expected_rows[surely].tolist())
