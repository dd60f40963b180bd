"""Completion: the exact score of every candidate in every leg, whoever proposed it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from m3search import Document, Encodings
from m3search.planning.completion import Known, complete
from m3search.retrieval import Query


@pytest.fixture(scope="module")
def snapshot(snapshot_of):
    dense = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    lexical = sparse.csr_array(np.array([[0.5, 0, 0], [0, 0.25, 0], [0.5, 0.25, 0]], np.float32))
    colbert = [np.array([[1, 0]], np.float32), np.empty((0, 2), np.float32), np.array([[0, 1], [1, 0]], np.float32)]
    documents = [Document("a", "zip zip"), Document("b", "json"), Document("c", "zip json")]
    return snapshot_of(documents, Encodings(dense, lexical, colbert), 2)


def test_every_candidate_gets_every_score(snapshot):
    query = Query.of(
        Encodings(
            np.array([[2, 1]], np.float32),
            sparse.csr_array(np.array([[1, 2, 4]], np.float32)),
            [np.array([[1, 0], [0, 1]], np.float32)],
        ),
        {"zip": 1},
    )
    parts = complete(query, snapshot, np.array([2, 0, 1, 2]), ["colbert", "dense", "lexical", "bm25"])
    assert list(parts) == ["colbert", "dense", "lexical", "bm25"]
    assert parts["dense"].tolist() == [-2, 2, 1, -2]
    assert parts["lexical"].tolist() == [1, 0.5, 0.5, 1]
    assert parts["colbert"] == pytest.approx([1, 0.5, 0, 1])
    assert parts["bm25"][2] == 0
    assert 0 < parts["bm25"][0] == parts["bm25"][3] < parts["bm25"][1] < 1


def test_what_is_known_is_not_computed_again(snapshot):
    query = Query.of(Encodings(dense=np.array([[2, 1]], np.float32)), {"zip": 1})
    docids, legs = np.array([2, 0, 1]), ["dense", "bm25"]
    full = complete(query, snapshot, docids, legs)
    # impossible scores, to be seen again
    known = [
        Known("dense", np.array([2]), np.array([77.0])),
        Known("dense", np.array([1]), np.array([66.0])),
        Known("lexical", np.array([0]), np.array([55.0])),
        Known("bm25", np.array([0, 1, 2]), np.array([3.0, 2.0, 1.0])),
    ]
    parts = complete(query, snapshot, docids, legs, known)
    assert parts["dense"].tolist() == [full["dense"][0], 66, 77]
    assert parts["bm25"].tolist() == [3, 2, 1]
    assert complete(query, snapshot, docids, legs, [])["bm25"].tobytes() == full["bm25"].tobytes()


def test_only_what_weighs_is_scored(snapshot):
    query = Query.of(Encodings(dense=np.ones((1, 2), np.float32)), None)
    assert set(complete(query, snapshot, np.array([0]), {"dense": 1.0})) == {"dense"}
    assert complete(query, snapshot, np.empty(0, np.int64), ["dense"])["dense"].shape == (0,)
