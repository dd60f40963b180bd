"""Query: one text's encodings and terms in the order in which the legs go through them."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from m3search import Encodings
from m3search.retrieval import Query


def test_tokens_and_terms_are_ordered():
    lexical = sparse.coo_array(([0.5, 0.25, 0.125], ([0, 0, 0], [9, 2, 5])), shape=(1, 10))
    dense = np.ones((1, 3), np.float32)
    query = Query.of(Encodings(dense, lexical, [np.ones((2, 4), np.float32)]), {"zip": 1, "Z": 3, "é": 2, "水": 1})
    assert query.tokens.tolist() == [2, 5, 9]
    assert query.token_weights.tolist() == [0.25, 0.125, 0.5]
    assert query.terms == ("Z", "zip", "é", "水")
    assert query.term_counts.tolist() == [3, 1, 2, 1]
    assert query.dense.tolist() == [1, 1, 1]
    assert query.colbert.shape == (2, 4)
    assert query.dense.flags.c_contiguous


def test_what_is_not_there_is_empty():
    for encodings, counts in ((None, None), (Encodings(), {})):
        query = Query.of(encodings, counts)
        assert query.dense is None
        assert query.colbert is None
        assert len(query.tokens) == len(query.token_weights) == len(query.terms) == len(query.term_counts) == 0
