"""Stored encodings: what is read back is what scores are made of."""

from __future__ import annotations

import numpy as np
import pytest
from generated import Collection, collection, snapshot
from scipy import sparse

from m3search import Document, Encodings, Index
from m3search.errors import QueryError
from m3search.retrieval.stored import as_query, stored_encodings


@pytest.mark.parametrize("size", [3, 100])
def test_vectors_are_read_back(tmp_path, size):
    made = collection(3, count=12)
    with snapshot(tmp_path / "i", made, size, ["d004"]) as opened:
        places = list(opened.live_documents())
        assert len(places) == 11
        for segment, number in places:
            document = int(segment.id_of(number)[1:])
            rows = slice(*made.encodings.offsets[document : document + 2])
            found = stored_encodings(opened, segment, number)
            assert found.documents == 1
            assert found.dense.tolist() == made.encodings.dense[rows].tolist()
            given = made.encodings.lexical[rows].toarray()
            assert found.lexical.shape == given.shape
            assert found.lexical.toarray() == pytest.approx(given, rel=2**-11)
            for mine, theirs in zip(found.colbert, made.encodings.colbert[rows], strict=True):
                assert mine == pytest.approx(theirs, abs=float(np.abs(theirs).max(initial=0)) / 250)
            assert stored_encodings(opened, segment, number, colbert=False).colbert is None


def test_what_an_export_gives_builds_the_same_index(tmp_path):
    made = collection(4, count=15)
    path = tmp_path / "i"
    with Index.build(made.documents, path, encoder=None, encodings=made.encodings, segment_size=4) as index:
        batches = list(index.export(batch=6))
        query = Encodings(dense=made.encodings.dense[:1], lexical=made.encodings.lexical[:1])
        before = [(hit.id, hit.score, dict(hit.parts)) for hit in index.search(query, 15)]
    assert [len(documents) for documents, _ in batches] == [6, 6, 3]
    documents = [document for batch, _ in batches for document in batch]
    with Index.build(documents, encoder=None, encodings=[encodings for _, encodings in batches]) as again:
        assert [(hit.id, hit.score, dict(hit.parts)) for hit in again.search(query, 15)] == before


def test_all_passages_ask_together():
    lexical = sparse.csr_array(np.array([[0, 0.5, 0.25], [1, 0, 0.5]], np.float32))
    found = as_query(Encodings(np.array([[1, 0], [0, 1]], np.float32), lexical, offsets=[0, 2]))
    assert found.dense.tolist() == [[0.5, 0.5]]
    assert found.lexical.toarray().tolist() == [[1, 0.5, 0.5]]
    assert len(found) == 1
    assert as_query(Encodings(dense=np.ones((1, 2), np.float32))).lexical is None


def test_a_document_without_passages_cannot_ask(tmp_path):
    made = Collection([Document("d", "text")], Encodings(dense=np.empty((0, 2), np.float32), offsets=[0, 0]))
    with snapshot(tmp_path / "i", made, 3, colbert=None) as opened:
        (place,) = opened.live_documents()
        with pytest.raises(QueryError, match="no text and no vectors to compare"):
            as_query(stored_encodings(opened, *place))


def test_an_index_of_terms_alone_has_nothing_stored_and_still_compares():
    with Index.build(["read a zip archive", "write a zip archive", "parse json"], encoder=None) as index:
        ((documents, encodings),) = index.export()
        assert len(documents) == 3
        assert encodings.outputs == ()
        assert index.similar("0").ids == ["1"]
    assert as_query(Encodings()) is None
