"""The field store: what was written comes back from both its ends, whatever the passages hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from m3search.errors import CorruptionError
from m3search.storage.postings import BM25Writer, Field, LexicalWriter

VOCAB = 12
K1, B = 1.2, 0.75
weights = st.floats(2.0**-30, 1e6, width=32)
rows = st.lists(st.dictionaries(st.integers(0, VOCAB - 1), weights, max_size=6), max_size=8)
counts = st.lists(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 70_000), max_size=5), max_size=8)


def csr(passages):
    matrix = sparse.lil_array((len(passages), VOCAB), dtype=np.float32)
    for row, tokens in enumerate(passages):
        for token, weight in tokens.items():
            matrix[row, token] = weight
    return sparse.csr_array(matrix.tocsr())


def stored(weight):
    """A weight as it is kept: f16 in its normal range, else f32."""
    weight = np.float32(weight)
    return float(np.float16(weight)) if 2.0**-14 <= weight <= 65504 else float(weight)


def worth(field, expected, passage, term):
    if field.lengths is None:
        return expected[passage][term]
    lengths = [sum(counts.values()) for counts in expected]
    frequency = expected[passage][term]
    return frequency / (frequency + K1 * (1 - B + B * lengths[passage] / np.mean(lengths)))


def check(field, expected):
    """Both stores of a field hold what `expected` holds: passage by passage, term -> value.

    The inverted store bounds weights, or the worth of term frequencies, by at most one impact.
    """
    assert field.postings == sum(map(len, expected))
    terms = [field.term(number) for number in range(field.size)]
    encoded = [term.encode() for term in terms] if field.term_ends is not None else terms
    assert encoded == sorted(set(encoded))
    assert set(terms) == {term for passage in expected for term in passage}
    assert field.numbers(terms).tolist() == list(range(len(terms)))
    for number, term in enumerate(terms):
        docids, impacts = field.blocks.impacts(number)
        held = [docid for docid, passage in enumerate(expected) if term in passage]
        assert docids.tolist() == held
        assert field.blocks.docids(number).tolist() == held
        assert field.blocks.arrays.frequencies[number] == len(held)
        bounds = impacts * field.blocks.arrays.scales[number].astype(np.float64)
        truth = np.array([worth(field, expected, docid, term) for docid in held])
        assert (bounds >= truth).all()
        assert (bounds - truth <= field.blocks.arrays.scales[number] * 1.0001).all()
    order = np.array([*range(len(expected))][::-1] * 2, np.int64)  # any order, and twice
    sizes, numbers, values = field.gather(order)
    assert sizes.tolist() == [len(expected[row]) for row in order]
    start = 0
    for row, size in zip(order, sizes, strict=True):
        part = slice(start, start + size)
        assert numbers[part].tolist() == sorted(numbers[part].tolist())
        found = dict(zip((terms[number] for number in numbers[part]), values[part].tolist(), strict=True))
        assert found == expected[row]
        start += size


@given(passages=rows, cut=st.integers(0, 8))
def test_token_weights_come_back(passages, cut):
    writer = LexicalWriter()
    matrix = csr(passages)
    for part in (matrix[:cut], matrix[cut:]):
        writer.append(part)
    assert writer.postings == matrix.nnz
    field = Field(writer.finish(), len(passages), "it")
    check(field, [{token: stored(weight) for token, weight in passage.items()} for passage in passages])
    assert field.numbers(np.array([VOCAB, 10**6])).tolist() == [-1, -1]


@given(passages=counts)
def test_term_frequencies_come_back(passages):
    writer = BM25Writer(K1, B)
    for passage in passages:
        writer.append(passage)
    field = Field(writer.finish(), len(passages), "it")
    check(field, passages)
    assert field.lengths.tolist() == [sum(passage.values()) for passage in passages]
    assert field.numbers(["long enough to be none", ""]).tolist() == [-1, -1]


def test_small_values_take_two_bytes_and_one_that_does_not_fit_widens_them():
    for passages, dtype in (([{1: 0.5}], np.float16), ([{1: 0.5}, {2: 1e-6}], np.float32)):
        writer = LexicalWriter()
        writer.append(csr(passages))
        assert writer.finish()["row_values"].dtype == dtype
    for passages, dtype in (([{"a": 65_535}], np.uint16), ([{"a": 1}, {"b": 65_536}], np.uint32)):
        writer = BM25Writer(K1, B)
        for passage in passages:
            writer.append(passage)
        assert writer.finish()["row_values"].dtype == dtype


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rare_ends", np.array([0, 3, 2, 5])),
        ("rare_ends", np.array([0, 3, 5])),
        ("rare", np.zeros(4, np.uint32)),
        ("frequencies", np.zeros(2, np.uint32)),
        ("scales", np.zeros(4, np.float32)),
        ("ranked", np.zeros((3, 2), np.uint16)),
        ("frequent", np.array([1], np.uint32)),
        ("local", np.zeros(1, np.uint16)),
        ("places", np.array([0])),
        ("columns", np.zeros((1, 64), np.uint8)),
        ("counts", np.zeros((1, 1), np.uint8)),
        ("group_starts", np.zeros((1, 1), np.uint32)),
        ("row_ends", np.array([0, 6, 5])),
        ("row_ends", np.array([0, 2, 4])),
        ("term_ends", np.array([0, -1, 2, 3])),
        ("term_ends", np.array([0, 1, 2, 4])),
        ("lengths", np.array([1, 2, 3], np.uint32)),
        ("row_terms", np.zeros(4, np.uint32)),
        ("row_values", np.zeros(6, np.uint16)),
    ],
)
def test_arrays_that_do_not_fit_together_are_found(name, value):
    writer = BM25Writer(K1, B)
    for passage in ({"a": 1, "b": 2}, {"a": 1, "b": 1, "c": 3}):
        writer.append(passage)
    arrays = writer.finish()
    Field(arrays, 2, "field 'bm25'")
    with pytest.raises(CorruptionError, match=r"field 'bm25' .*restore the index"):
        Field({**arrays, name: value}, 2, "field 'bm25'")
