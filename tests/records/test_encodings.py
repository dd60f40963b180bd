"""Encodings: what is taken, what is refused in which words, and that a caller's arrays stay the caller's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from m3search import Encodings, lexical_matching_score
from m3search.errors import EncodingsError

NAN, INF = float("nan"), float("inf")


def csr(rows, dtype=np.float32):
    return sparse.csr_array(np.array(rows, dtype))


def matrix(*shape, value=0.5, dtype=np.float32):
    return np.full(shape, value, dtype)


def with_bad(row, value):
    array = matrix(3, 2)
    array[row, 1] = value
    return array


# -- what is taken --


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_size_become_f32(dtype):
    wide = np.float32 if dtype is np.float16 else dtype  # scipy has no sparse float16
    found = Encodings(matrix(2, 3, dtype=dtype), csr([[0, 1], [2, 0]], wide), [matrix(2, 4, dtype=dtype)] * 2)
    assert found.dense.dtype == found.lexical.dtype == found.colbert[0].dtype == np.float32
    assert len(found) == found.documents == 2
    assert found.outputs == ("dense", "lexical", "colbert")


def test_lists_of_floats_will_do():
    found = Encodings(dense=[[1.0, 2.0]], colbert=[[[1.0], [2.0]]], offsets=[0, 1])
    assert found.dense.tolist() == [[1, 2]]
    assert found.colbert[0].shape == (2, 1)


def test_dense_is_contiguous():
    found = Encodings(dense=np.asfortranarray(matrix(4, 6))[:, ::2])
    assert found.dense.flags.c_contiguous
    assert found.dense.shape == (4, 3)


def test_nothing_is_no_row():
    assert len(Encodings()) == 0
    assert Encodings().outputs == ()
    assert len(Encodings(dense=np.empty((0, 4), np.float32), lexical=csr(np.empty((0, 9))), colbert=[])) == 0


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "coo_array", "lil_array"])
def test_any_sparse_class_becomes_canonical_csr(kind):
    dense = np.array([[0, 1.5, 0], [0, 0, 0], [2, 0, 3]], np.float32)
    found = Encodings(lexical=getattr(sparse, kind)(dense)).lexical
    assert isinstance(found, sparse.csr_array)
    assert found.has_canonical_format
    assert found.nnz == 3
    assert found.toarray().tolist() == dense.tolist()


@st.composite
def messy(draw):
    """A CSR array whose columns may be unsorted, twofold, or hold zeros."""
    columns = draw(st.integers(1, 6))
    rows = draw(st.lists(st.lists(st.tuples(st.integers(0, columns - 1), st.integers(0, 3)), max_size=6), max_size=4))
    ends = np.cumsum([0, *map(len, rows)])
    flat = [pair for row in rows for pair in row]
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    data, indices = np.array([v for _, v in flat], dtype), np.array([c for c, _ in flat], np.int32)
    return sparse.csr_array((data, indices, ends), shape=(len(rows), columns))


@settings(deadline=None)
@given(messy())
def test_lexical_means_the_same_and_the_callers_array_is_left_alone(value):
    before = [array.copy() for array in (value.data, value.indices, value.indptr)]
    dense = np.zeros(value.shape)
    for row in range(value.shape[0]):
        for place in range(value.indptr[row], value.indptr[row + 1]):
            dense[row, value.indices[place]] += value.data[place]
    found = Encodings(lexical=value).lexical
    assert found.toarray().tolist() == dense.tolist()
    assert found.has_canonical_format
    assert (found.data > 0).all()
    for array, copy in zip((value.data, value.indices, value.indptr), before, strict=True):
        assert array.tolist() == copy.tolist()


# -- what is refused --


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dense": with_bad(1, NAN)}, "the dense vector of row 1 holds a value that is not finite"),
        ({"dense": with_bad(2, INF)}, "the dense vector of row 2 holds"),
        ({"dense": with_bad(0, -INF)}, "the dense vector of row 0 holds"),
        (
            {"dense": matrix(1, 2, value=1e300, dtype=float)},
            "the dense vector of row 0 holds a value that is not finite",
        ),
        ({"dense": matrix(3)}, r"dense vectors are float32\[3\]: give f32\[n, dim\]"),
        ({"dense": matrix(3, 0)}, r"dense vectors are float32\[3, 0\]"),
        ({"dense": matrix(1, 2, 3)}, r"dense vectors are float32\[1, 2, 3\]"),
        ({"dense": np.ones((2, 2), int)}, r"dense vectors are int64\[2, 2\]"),
        ({"dense": np.ones((2, 2), complex)}, "dense vectors are complex128"),
        ({"dense": [[1.0], [1.0, 2.0]]}, "dense vectors are a list of rows of different lengths"),
        ({"dense": [["a"]]}, "dense vectors are a list"),
        ({"dense": "vector"}, "dense vectors are a str"),
        ({"lexical": csr([[1, 0], [0, NAN]])}, "the lexical weights of row 1 hold a value that is not finite"),
        ({"lexical": csr([[INF, 0]])}, "the lexical weights of row 0 hold a value that is not finite"),
        ({"lexical": csr([[0, 1e300]], float)}, "the lexical weights of row 0 hold a value that is not finite"),
        ({"lexical": csr([[1, 0], [1, 0], [0, -0.1]])}, "the lexical weights of row 2 hold a negative value"),
        ({"lexical": csr([[1, 0]], np.int64)}, "lexical weights are int64: give floats"),
        ({"lexical": np.ones((1, 2))}, "lexical weights are float64.* give a scipy CSR"),
        ({"lexical": [{1: 0.5}]}, "lexical weights are a list.* give a scipy CSR"),
        ({"lexical": sparse.coo_array(np.ones(3))}, r"lexical weights have the shape \(3,\)"),
        ({"colbert": [matrix(2, 3), matrix(2)]}, r"token vectors of row 1 are float32\[2\]: give f32\[tokens, dim\]"),
        ({"colbert": [matrix(2, 3), matrix(2, 4)]}, "token vectors of row 1 are 4 wide, those of row 0 3"),
        (
            {"colbert": [matrix(2, 3), matrix(1, 3, value=NAN)]},
            "token vectors of row 1 hold a value that is not finite",
        ),
        ({"colbert": [np.ones((1, 3), np.int8)]}, r"token vectors of row 0 are int8\[1, 3\]"),
        ({"colbert": [matrix(2, 0)]}, r"token vectors of row 0 are float32\[2, 0\]"),
        ({"colbert": 7}, "token vectors are a int: give a list"),
        ({"colbert": "abc"}, "token vectors are a str: give a list"),
        ({"dense": matrix(2, 3), "lexical": csr([[1, 0]])}, "disagree .*: dense has 2, lexical has 1 rows"),
        ({"dense": matrix(1, 3), "colbert": []}, "disagree .*: dense has 1, colbert has 0 rows"),
        ({"dense": matrix(2, 3), "offsets": [0, 1]}, "from 0 to the number of rows, 2; they go from 0 to 1"),
        ({"dense": matrix(2, 3), "offsets": [1, 2]}, "they go from 1 to 2"),
        ({"dense": matrix(3, 3), "offsets": [0, 2, 1, 3]}, "document 1 would have the rows from 2 to 1"),
        ({"dense": matrix(2, 3), "offsets": [0.0, 2.0]}, r"offsets are float64\[2\]: give i64"),
        ({"dense": matrix(2, 3), "offsets": []}, "give i64"),
        ({"dense": matrix(2, 3), "offsets": [[0, 2]]}, "give i64"),
        ({"dense": matrix(2, 3), "offsets": 2}, "give i64"),
    ],
)
def test_what_is_refused_says_why(arguments, message):
    with pytest.raises(EncodingsError, match=message):
        Encodings(**arguments)


def test_a_damaged_csr_is_refused():
    array = csr([[1, 2, 3]])
    array.indices[0] = -5
    with pytest.raises(EncodingsError, match="a column outside of their 3"):
        Encodings(lexical=array)


# -- rows and documents --


def some(rows, offsets=None, *, dim=3, vocab=5, token_dim=2):
    rng = np.random.default_rng(rows)
    return Encodings(
        rng.normal(size=(rows, dim)),
        sparse.csr_array(np.maximum(rng.normal(size=(rows, vocab)), 0)),
        [rng.normal(size=(row % 3, token_dim)) for row in range(rows)],
        offsets,
    )


def test_offsets_give_documents_their_rows():
    found = some(4, [0, 1, 1, 4])
    assert len(found) == 4
    assert found.documents == 3
    assert Encodings(dense=np.empty((0, 1), np.float32), offsets=[0]).documents == 0


def test_rows_are_encodings_of_their_own():
    found = some(5, [0, 2, 5])
    part = found.rows(1, 3)
    assert len(part) == 2
    assert part.offsets is None
    assert part.dense.tolist() == found.dense[1:3].tolist()
    assert part.lexical.toarray().tolist() == found.lexical.toarray()[1:3].tolist()
    assert [array.tolist() for array in part.colbert] == [array.tolist() for array in found.colbert[1:3]]


def test_parts_join_and_keep_their_documents():
    parts = [some(2), some(3, [0, 3]), some(0), some(1, [0, 0, 1])]
    joined = Encodings.concatenate(parts)
    assert len(joined) == 6
    assert joined.offsets.tolist() == [0, 1, 2, 5, 5, 6]
    assert joined.dense.tolist() == [row for part in parts for row in part.dense.tolist()]
    assert joined.lexical.toarray().tolist() == [row for part in parts for row in part.lexical.toarray().tolist()]
    assert len(joined.colbert) == 6
    assert len(Encodings.concatenate([])) == 0
    assert Encodings.concatenate([some(1), some(1)]).offsets is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (some(1, dim=4), r"dense vectors of widths \[3, 4\] cannot be joined"),
        (some(1, vocab=6), r"vocabularies of \[5, 6\] cannot be joined"),
        (some(4, token_dim=3), "token vectors of row"),
        (Encodings(dense=matrix(1, 3)), "different outputs cannot be joined"),
    ],
)
def test_parts_that_do_not_fit_are_not_joined(other, message):
    with pytest.raises(EncodingsError, match=message):
        Encodings.concatenate([some(4), other])


# -- lexical dictionaries --


def test_lexical_weights_as_flagembedding_gives_them():
    found = Encodings(lexical=csr([[0, 0.5, 0], [0.25, 0, 1]]), token=lambda number: f"<{number}>")
    assert found.lexical_dict(0) == {"1": 0.5}
    assert found.lexical_dict(-1) == {"0": 0.25, "2": 1.0}
    assert found.lexical_dict(1, tokens=True) == {"<0>": 0.25, "<2>": 1.0}
    for row in (2, -3):
        with pytest.raises(IndexError, match=f"row {row} of 2"):
            found.lexical_dict(row)
    with pytest.raises(EncodingsError, match="no lexical output"):
        Encodings(dense=matrix(1, 2)).lexical_dict(0)
    with pytest.raises(EncodingsError, match="without a tokenizer"):
        Encodings(lexical=csr([[1.0]])).lexical_dict(0, tokens=True)


def test_of_tokens_that_read_alike_the_heavier_counts():
    found = Encodings(lexical=csr([[0.25, 0.5, 0.125]]), token=lambda _: "a")
    assert found.lexical_dict(0, tokens=True) == {"a": 0.5}


def test_matching_score_is_the_sum_over_shared_tokens():
    assert lexical_matching_score({"1": 0.5, "2": 2.0}, {1: 4.0, 3: 1.0}) == 2.0
    assert lexical_matching_score({}, {"1": 1.0}) == 0.0
