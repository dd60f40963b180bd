"""What `Index` does with ids, numbers and lists that are not quite what it asks for."""

import os
import subprocess
import sys

import pytest

from m3search import Encodings, Index, errors


@pytest.fixture
def index(tmp_path):
    Index.build([{"id": 5, "text": "zip"}, {"id": "01", "text": "zip tar"}], tmp_path / "i", encoder=None).close()
    with Index.open(tmp_path / "i", mode="w") as opened:
        yield opened


def test_numbers_are_the_ids_that_they_were_indexed_by(index):
    assert index.get(5).text == "zip"
    assert index.search("zip", ids=[5]).ids == ["5"]
    assert index.similar(5).ids == ["01"]
    assert index.delete([5]) == 1
    assert index.get(5) is None


@pytest.mark.parametrize("wrong", [None, 1.5, True, ["5"]])
def test_what_is_no_id_is_refused(index, wrong):
    with pytest.raises(errors.QueryError, match="is no id"):
        index.get(wrong)
    with pytest.raises(errors.QueryError, match="is no id"):
        index.delete([wrong])
    assert len(index) == 2


@pytest.mark.parametrize("wrong", ["01", 5])
def test_ids_come_in_a_list(index, wrong):
    with pytest.raises(errors.QueryError, match="give a list of ids"):
        index.search("zip", ids=wrong)


def test_ids_that_no_document_can_have_are_not_found(index):
    assert index.get("\ud800") is None
    assert "\ud800" not in index
    assert 5 not in index
    assert index.search("zip", ids=["\ud800"]).ids == []
    assert index.search("zip", ids=[]).ids == []


def test_a_batch_is_a_list_or_a_generator_of_queries(index):
    assert [hits.ids for hits in index.search_batch(query for query in ("tar", "nothing"))] == [["01"], []]
    assert index.search_batch([]) == []
    with pytest.raises(errors.QueryError, match="give a list of them"):
        index.search_batch("zip")


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_similar_checks_its_own_k(index, k):
    with pytest.raises(errors.QueryError, match=f"k is {k}"):
        index.similar("5", k)


def test_export_needs_a_batch(index):
    with pytest.raises(errors.InputError, match="batch is 0"):
        next(index.export(batch=0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_remove_its_parent_s_temporary_index():
    code = """
import os
from m3search import Index
index = Index.build(["a text"], encoder=None)
child = os.fork()
if not child:
    raise SystemExit(0)
os.waitpid(child, 0)
assert index.path.exists() and index.search("text").ids == ["0"]
index.close()
assert not index.path.exists()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("bm25", ["en", 1, {"k1": True}, {"k1": -1}, {"b": 2}, {"k2": 1}])
def test_bm25_settings_are_checked(bm25):
    with pytest.raises(errors.InputError, match="bm25"):
        Index.build(["a text"], encoder=None, bm25=bm25)


def test_colbert_that_is_asked_for_must_be_there(tmp_path):
    import numpy as np

    dense = Encodings(dense=np.eye(2, dtype=np.float32))
    with pytest.raises(errors.EncodingsError, match="leave colbert out"):
        Index.build(["a", "b"], tmp_path / "j", encoder=None, encodings=dense, colbert="int8")
    assert not (tmp_path / "j").exists()
