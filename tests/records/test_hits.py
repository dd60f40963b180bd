"""Hits: a sequence that loads its documents late, and shows itself as JSON and HTML."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3search import Document, Hit, Hits
from m3search.records import LazyHits


def hit(document, rank=1, score=0.5, span=None, loads=None):
    def load():
        if loads is not None:
            loads.append(document.id)
        return document

    return Hit(document.id, score, rank, {"dense": score, "bm25": 0.25}, span or (0, len(document.text)), load)


def three(lazy=False, loads=None, made=None):
    documents = [Document(f"d{number}", f"text {number}", metadata={"n": number}) for number in range(3)]

    def make(place):
        if made is not None:
            made.append(place)
        return hit(documents[place], place + 1, 1 / (place + 1), loads=loads)

    if lazy:
        return Hits(LazyHits([document.id for document in documents], make))
    return Hits([make(place) for place in range(3)])


@pytest.mark.parametrize("lazy", [False, True])
def test_they_are_a_sequence(lazy):
    hits = three(lazy)
    assert isinstance(hits, Sequence)
    assert len(hits) == 3
    assert [found.id for found in hits] == hits.ids == ["d0", "d1", "d2"]
    assert hits[0].id == "d0"
    assert hits[-1].rank == 3
    assert [found.id for found in hits[1:]] == ["d1", "d2"]
    assert [found.id for found in reversed(hits)] == ["d2", "d1", "d0"]
    assert hits[1] in hits
    assert hits.index(hits[2]) == 2
    assert isinstance(hits[:2], list)
    assert hits[::-2] == [hits[2], hits[0]]
    assert hits[5:] == []
    assert hits[-3] is hits[0]
    for index in (3, -4):
        with pytest.raises(IndexError):
            hits[index]
    assert hits != three(lazy)
    assert repr(hits) == repr(three())
    assert hits.to_dict() == three().to_dict()
    assert hits._repr_html_() == three()._repr_html_()
    assert list(Hits([])) == []
    assert not Hits([])


def test_a_hit_is_made_once_and_only_when_it_is_looked_at():
    made = []
    hits = three(lazy=True, made=made)
    assert hits.ids == ["d0", "d1", "d2"]
    assert len(hits) == 3
    assert hits
    assert made == []
    assert hits[1].id == "d1"
    assert made == [1]
    hits[-1].rank = 7
    assert [found.rank for found in hits] == [1, 2, 7]
    assert hits[0] is next(iter(hits))
    assert sorted(made) == [0, 1, 2]
    ids = hits.ids
    ids.clear()
    assert len(hits.ids) == 3


@pytest.mark.parametrize("lazy", [False, True])
def test_a_document_is_loaded_once_and_only_when_it_is_looked_at(lazy):
    loads = []
    hits = three(lazy, loads)
    assert hits.ids
    assert [found.score for found in hits] == [1, 1 / 2, 1 / 3]
    assert "d1" in repr(hits)
    assert loads == []
    assert hits[1].text == "text 1"
    assert hits[1].metadata == {"n": 1}
    assert hits[1].title == ""
    assert loads == ["d1"]


def test_the_passage_is_the_span_of_the_text():
    found = hit(Document("d", "one two three"), span=(4, 7))
    assert found.passage == "two"
    assert found.text == "one two three"


def test_json_has_everything():
    hits = Hits([hit(Document("d", "text", "T", {"a": [1, {"b": None}]}))], "exact", 0.25, 0.5, {"rounds": 1})
    assert json.loads(json.dumps(hits.to_dict(), allow_nan=False)) == {
        "hits": [
            {
                "rank": 1,
                "id": "d",
                "score": 0.5,
                "parts": {"dense": 0.5, "bm25": 0.25},
                "title": "T",
                "text": "text",
                "span": [0, 4],
                "snippet": "text",
                "metadata": {"a": [1, {"b": None}]},
            }
        ],
        "guarantee": "exact",
        "bound": 0.25,
        "kth_score": 0.5,
        "statistics": {"rounds": 1},
    }


def test_json_of_no_hits():
    assert json.dumps(Hits([]).to_dict(), allow_nan=False)
    assert Hits([]).to_dict()["bound"] is None


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_any_metadata_becomes_valid_json(metadata):
    found = Hits([hit(Document("d", "text", metadata=metadata))], bound=math.inf, _statistics={"a": {"b": math.nan}})
    value = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert same(value["hits"][0]["metadata"], metadata)
    assert value["bound"] is None
    assert value["statistics"] == {"a": {"b": None}}
    assert found[0].metadata is metadata


def same(found, given_):
    """Equal but for what JSON cannot hold, which is None."""
    if isinstance(given_, float) and not math.isfinite(given_):
        return found is None
    if isinstance(given_, dict):
        return found.keys() == given_.keys() and all(same(found[key], given_[key]) for key in given_)
    if isinstance(given_, list):
        return len(found) == len(given_) and all(map(same, found, given_))
    return found == given_ and type(found) is type(given_)


def test_html_is_escaped():
    evil = "<script>alert('x') & more</script>"
    shown = Hits([hit(Document(evil, evil, evil))], guarantee=evil)._repr_html_()
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(&#x27;x&#x27;) &amp; more&lt;/script&gt;") == 4
    assert "0.5000" in shown
    assert "<th>dense</th><th>bm25</th>" in shown


def test_html_shows_the_best_passage_and_not_the_whole_book():
    text = f"{'a' * 1000}best{'b' * 1000}"
    shown = Hits([hit(Document("d", text), span=(1000, 2004))])._repr_html_()
    assert "<td>best" in shown
    assert "aaa" not in shown
    assert len(shown) < 1000
    assert "0 hits, exact" in Hits([])._repr_html_()
