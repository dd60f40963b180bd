"""The newcomer's first command, run for real: it takes a minute or two."""

import sys

import pytest

from m3search import Index
from m3search.demo.library_index import QUESTIONS, library_index, usual_path


def test_the_demo_builds_once_and_answers_well(m3search, tmp_path):
    path = tmp_path / "indexes" / "demo"
    first = m3search("demo", "--index", path)
    assert first.code == 0, first.err
    assert "docstrings of Python's standard library" in first.err
    for question in QUESTIONS:
        assert question in first.out
    for expected in ("zipfile", "subprocess.run", "datetime.datetime.strptime"):
        assert expected in first.out
    assert first.out.count("5 hits, exact") == 3

    again = m3search("demo", "--index", path, "-k", "1", "--json")
    assert again.code == 0
    assert again.json["built"] is False
    assert 2000 <= again.json["documents"] <= 3000
    assert [answer["query"] for answer in again.json["answers"]] == list(QUESTIONS)
    assert f"using the index in {path}" in again.err


def test_an_index_that_is_there_is_reused(tmp_path):
    Index.build(["not the library"], tmp_path / "i", encoder=None).close()
    said = []
    index, built = library_index(tmp_path / "i", progress=False, say=said.append)
    with index:
        assert not built
        assert len(index) == 1
        assert said == []


def test_something_else_at_the_path_is_left_alone(m3search, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    result = m3search("demo", "--index", tmp_path / "mine")
    assert result.code == 1
    assert "is no index and not empty" in result.err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is Linux's")
def test_the_usual_place_is_the_user_s_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_path().is_relative_to(tmp_path)
    assert usual_path().name.startswith("python-3.")
