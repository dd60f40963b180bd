"""Filters on the command line: search, facets, eval, delete and info; an error has a caret."""

import json

import pytest


@pytest.fixture
def index(m3search, tmp_path):
    source = tmp_path / "docs.jsonl"
    docs = [
        {"id": "zip", "text": "read zip archives", "lang": "de", "year": 2021, "tags": ["a", "b"]},
        {"id": "tar", "text": "read tar archives", "lang": "en", "year": 2019, "tags": ["b"]},
        {"id": "csv", "text": "read rows of archives", "lang": "de", "year": 2023, "draft": True},
    ]
    source.write_text("".join(json.dumps(one) + "\n" for one in docs))
    assert m3search("build", source, "--index", tmp_path / "i", "--encoder", "none").code == 0
    return tmp_path / "i"


def test_search_obeys_a_filter(m3search, index):
    found = m3search("search", index, "archives", "--filter", "lang=de not draft=true", "--json").json
    assert [hit["id"] for hit in found["hits"]] == ["zip"]
    found = m3search("search", index, "", "-f", "year>=2019 <2022", "--json").json
    assert [hit["id"] for hit in found["hits"]] == ["tar", "zip"]
    assert "no hits" in m3search("search", index, "archives", "--filter", "id=nobody").out


def test_an_error_points_at_the_place(m3search, index):
    result = m3search("search", index, "archives", "--filter", "lang=de yeer>=2020")
    assert result.code == 1
    assert result.err.splitlines() == [
        "error: filter, character 9: no document has a field 'yeer': did you mean 'year'?",
        "    lang=de yeer>=2020",
        "            ^",
    ]


def test_facets_are_counted(m3search, index):
    found = m3search("facets", index, "tags", "--json").json
    assert found["field"] == "tags"
    assert found["values"] == [{"value": "b", "documents": 2}, {"value": "a", "documents": 1}]
    found = m3search("facets", index, "lang", "--query", "zip", "--filter", "year>2000", "--limit", "0", "--json").json
    assert found["values"] == [{"value": "de", "documents": 1}]
    shown = m3search("facets", index, "draft").out
    assert "draft" in shown
    assert "true" in shown
    assert m3search("facets", index, "tag").err.startswith("error: no document has a field 'tag': did you mean 'tags'?")


def test_delete_by_a_filter(m3search, index):
    assert m3search("delete", index, "--filter", "", "--json").err.startswith("error: an empty filter is true of every")
    assert m3search("delete", index).err.startswith("error: say what to delete: give ids, or a filter")
    assert m3search("delete", index, "--filter", "year<2022", "--json").json["deleted"] == 2
    assert m3search("info", index, "--json").json["documents"] == 1


def test_info_shows_fields(m3search, index):
    fields = {"draft": "boolean", "lang": "string", "tags": "list of string", "year": "number"}
    assert m3search("info", index, "--json").json["fields"] == fields
    assert "lang string, tags list of string" in m3search("info", index).out


def test_eval_obeys_a_filter(m3search, index, tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "archives"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ttar\t1\n")
    run = tmp_path / "run.trec"
    command = ("eval", index, tmp_path, "--measure", "R@10", "--run", run, "--json")
    assert m3search(*command, "--filter", "lang=de").json["values"]["R@10"] == 0
    assert {line.split()[2] for line in run.read_text().splitlines()} == {"zip", "csv"}
    assert m3search(*command, "--filter", "lang=en").json["values"]["R@10"] == 1
