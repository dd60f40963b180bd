"""Long documents on the command line: how they are cut, and passages as hits."""

from __future__ import annotations

import json


def test_a_build_cuts_and_a_search_shows_passages(m3search, tmp_path):
    source, index = tmp_path / "long.jsonl", tmp_path / "index"
    text = " ".join(f"Sentence {number} speaks of thing {number % 17}." for number in range(60))
    source.write_text(json.dumps({"id": "a", "text": text}) + "\n")
    options = ["--passage-tokens", "30", "--passage-overlap", "5", "--passage-by", "word", "--json"]
    done = m3search("build", source, "--index", index, "--encoder", "none", *options)
    assert done.json["passages"] > 10
    assert m3search("info", index, "--json").json["passages"] > 10
    hits = m3search("search", index, "thing", "--no-collapse", "--json").json["hits"]
    assert [hit["id"] for hit in hits] == ["a"] * 10
    assert all("**thing**" in hit["snippet"] for hit in hits)
    assert len(m3search("search", index, "thing", "--json").json["hits"]) == 1


def test_impossible_passages_are_said(m3search, tmp_path):
    source = tmp_path / "long.jsonl"
    source.write_text('{"id": "a", "text": "b"}\n')
    done = m3search("build", source, "--index", tmp_path / "index", "--encoder", "none", "--passage-by", "page")
    assert done.code == 1
    assert "give one of paragraph, sentence, word" in done.err
    assert not (tmp_path / "index").exists()
