"""str, mapping and Document become a document that can be stored, or an error that says where and why."""

from __future__ import annotations

import json
from collections import OrderedDict, UserDict
from datetime import UTC, date, datetime
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3search.errors import DocumentError
from m3search.indexing import documents as module
from m3search.indexing.documents import DEEPEST_METADATA, LONGEST_ID, as_document
from m3search.records import Document


def test_a_str_is_a_text_named_by_its_place():
    assert as_document("hello", 17) == Document("17", "hello")


@pytest.mark.parametrize("key", ["id", "_id", "doc_id"])
@pytest.mark.parametrize(("given", "expected"), [("a", "a"), (7, "7"), (np.int64(8), "8"), (2**64, str(2**64))])
def test_a_mapping_may_name_its_id_in_three_ways(key, given, expected):
    assert as_document({key: given, "text": "t"}, 0).id == expected


def test_other_keys_become_metadata():
    value = {"_id": "a", "title": "T", "text": "t", "year": 1999, "metadata": {"tags": ("x", "y")}, "url": None}
    assert as_document(value, 0) == Document("a", "t", "T", {"year": 1999, "url": None, "tags": ["x", "y"]})
    assert as_document(UserDict(value), 0) == as_document(value, 0)


def test_what_may_be_left_out():
    expected = Document("a", "t")
    assert as_document({"id": "a", "text": "t"}, 0) == expected
    assert as_document({"id": "a", "_id": None, "text": "t", "title": None, "metadata": None}, 0) == expected
    assert as_document({"id": 1, "_id": "1", "text": ""}, 0) == Document("1", "")
    assert as_document({"id": "a", "text": "t", "n": 1, "metadata": {"n": 1}}, 0).metadata == {"n": 1}


def test_a_document_is_validated_and_keeps_its_values():
    document = Document("a", "t", "T", OrderedDict(n=1))
    assert as_document(document, 3) == Document("a", "t", "T", {"n": 1})
    assert type(as_document(document, 3).metadata) is dict


def test_metadata_becomes_what_can_be_stored():
    class Level(IntEnum):
        HIGH = 3

    metadata = {
        "date": date(2024, 2, 29),
        "moment": datetime(2024, 2, 29, 12, tzinfo=UTC),
        "numpy": [np.float32(0.5), np.int8(-3), np.bool_(True), np.str_("s")],
        "enum": Level.HIGH,
        "edges": [-(2**63), 2**64 - 1, 1.5, float("inf"), True, None],
        "deep": {"er": {"still": []}},
    }
    stored = as_document({"id": "a", "text": "", "metadata": metadata}, 0).metadata
    assert stored == {
        "date": "2024-02-29",
        "moment": "2024-02-29T12:00:00+00:00",
        "numpy": [0.5, -3, True, "s"],
        "enum": 3,
        "edges": [-(2**63), 2**64 - 1, 1.5, float("inf"), True, None],
        "deep": {"er": {"still": []}},
    }
    assert type(stored["numpy"][0]) is float
    assert type(stored["numpy"][2]) is bool


def nested(depth):
    value = []
    for _ in range(depth - 2):
        value = [value]
    return {"id": "deep", "text": "", "metadata": {"a": value}}


def test_metadata_nests_to_a_limit():
    as_document(nested(DEEPEST_METADATA), 0)
    with pytest.raises(DocumentError, match=r"id 'deep'.*nested more than 16 deep: flatten"):
        as_document(nested(DEEPEST_METADATA + 1), 0)
    endless = {}
    endless["self"] = endless
    with pytest.raises(DocumentError, match="nested more than"):
        as_document(Document("loop", "", "", endless), 0)


BAD = [
    ({"text": "t"}, "missing id", "there is no id: give every document"),
    ({"id": None, "text": "t"}, "missing id", "there is no id"),
    ({"id": "", "text": "t"}, "empty id", "the id is empty"),
    ({"id": "x" * (LONGEST_ID + 1), "text": "t"}, "id too long", "has 4,097 bytes, at most 4,096"),
    ({"id": "\u00e9" * (LONGEST_ID // 2 + 1), "text": "t"}, "id too long", "has 4,098 bytes"),
    ({"id": "a", "_id": "b", "text": "t"}, "ambiguous id", "'id' is 'a', '_id' is 'b'"),
    ({"id": 1.0, "text": "t"}, "id is no string", "'id' is 1.0: give a string or an int"),
    ({"id": True, "text": "t"}, "id is no string", "'id' is True"),
    ({"id": 10**5000, "text": "t"}, "id is no string", "'id' is of type int"),
    ({"id": ["a"], "text": "t"}, "id is no string", "of type list"),
    ({"id": "a", "body": "t"}, "no text", r"\(id 'a'\): there is no 'text'; its keys are body, id"),
    ({"id": "a", "text": None}, "text is no string", "the text is None: give a string"),
    ({"id": "a", "text": b"t"}, "text is no string", "the text is of type bytes"),
    ({"id": "a", "text": "t", "title": 5}, "title is no string", "the title is the int 5"),
    ({"id": "a\ud800", "text": "t"}, "lone surrogate", r"the id holds the lone surrogate U\+D800 at character 1"),
    ({"id": "a", "text": "t\udc80t"}, "lone surrogate", r"the text holds the lone surrogate U\+DC80 at character 1"),
    ({"id": "a", "text": "t", "title": "\udfff"}, "lone surrogate", "the title holds"),
    ({"id": "a", "text": "t", "metadata": "m"}, "metadata", "'metadata' is the string 'm'"),
    ({"id": "a", "text": "t", "n": 1, "metadata": {"n": 2}}, "metadata", "'n' stands beside the metadata and in it"),
    ({"id": "a", "text": "t", "n": 1, "metadata": {"n": True}}, "metadata", "'n' stands beside"),
    ({"id": "a", "text": "t", "n": 2**64}, "metadata", "metadata n is an int beyond 64 bits"),
    ({"id": "a", "text": "t", "n": {"k": [0, {1}]}}, "metadata", r"metadata n\.k\[1\] is of type set"),
    ({"id": "a", "text": "t", "n": {5: 1}}, "metadata", "metadata n has the key the int 5: keys must be strings"),
    ({"id": "a", "text": "t", 5: 1}, "metadata", "the metadata has the key the int 5"),
    ({"id": "a", "text": "t", "n": "\ud800"}, "lone surrogate", "metadata n holds the lone surrogate"),
    ({"id": "a", "text": "t", "\ud800": 1}, "lone surrogate", "key of the metadata holds"),
    ({"id": "a", "text": "t", "n": np.zeros(2)}, "metadata", "of type ndarray"),
    ({"id": "a", "text": "t", "n": b"x"}, "metadata", "of type bytes"),
    (["id", "text"], "not a document", "a list is no document"),
    (None, "not a document", "a NoneType is no document"),
    (b"bytes", "not a document", "a bytes is no document"),
    ("\ud800", "lone surrogate", r"\(id '17'\): the text holds"),
    (Document("", "t"), "empty id", "the id is empty"),
    (Document("a", 5), "text is no string", "the text is the int 5"),
    (Document("a", "t", None), "title is no string", "the title is None"),
    (Document("a", "t", "", None), "metadata", "the metadata is None"),
    (Document(None, "t"), "id is no string", "'id' is None"),
]


@pytest.mark.parametrize(("value", "kind", "message"), BAD)
def test_what_cannot_be_indexed_is_named(value, kind, message):
    with pytest.raises(DocumentError, match=message) as caught:
        as_document(value, 17)
    assert str(caught.value).startswith("document 17")
    assert caught.value.kind == kind
    assert caught.value.where == "document 17"
    with pytest.raises(DocumentError, match=r"^corpus\.jsonl:3"):
        as_document(value, 17, "corpus.jsonl:3")
    str(caught.value).encode("utf-8", "backslashreplace").decode()


def test_the_message_names_the_id():
    with pytest.raises(DocumentError, match=r"^a\.csv:9 \(id 'x'\): ") as caught:
        as_document({"id": "x", "text": None}, 0, "a.csv:9")
    assert caught.value.doc_id == "x"


def test_what_is_too_large(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_TEXT", 10)
    monkeypatch.setattr(module, "LONGEST_TITLE", 4)
    monkeypatch.setattr(module, "LARGEST_METADATA", 100)
    assert as_document({"id": "a", "text": "\u00e9" * 5, "title": "abcd"}, 0).text == "\u00e9" * 5
    with pytest.raises(DocumentError, match="the text has 11 bytes, at most 10 are possible: split"):
        as_document({"id": "a", "text": "\u00e9" * 5 + "x"}, 0)
    with pytest.raises(DocumentError, match="the title has 5 bytes"):
        as_document({"id": "a", "text": "", "title": "abcde"}, 0)
    with pytest.raises(DocumentError, match="the metadata has more than 100 bytes"):
        as_document({"id": "a", "text": "", "m": ["x"] * 100}, 0)
    with pytest.raises(DocumentError, match="the metadata has more than 100 bytes"):
        as_document({"id": "a", "text": "", "m": [[]] * 100}, 0)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(
    doc_id=WORDS.filter(bool),
    text=WORDS,
    title=WORDS,
    metadata=st.dictionaries(WORDS.filter(lambda key: key not in {"id", "_id", "doc_id", "text", "title"}), JSON),
)
def test_a_document_survives_json_and_the_rules(doc_id, text, title, metadata):
    document = Document(doc_id, text, title, metadata)
    assert as_document(document, 0) == document
    line = json.dumps({"_id": doc_id, "text": text, "title": title, "metadata": metadata})
    assert as_document(json.loads(line), 0) == document
    metadata.pop("metadata", None)
    flat = {**metadata, "id": doc_id, "text": text, "title": title}
    assert as_document(flat, 0) == Document(doc_id, text, title, metadata)


@given(st.dictionaries(st.text(max_size=4) | st.sampled_from(["id", "text", "metadata"]), JSON | st.binary(max_size=3)))
def test_any_mapping_gives_a_document_or_our_error(value):
    error = None
    try:
        document = as_document(value, 0)
    except DocumentError as caught:
        error = caught
    if error is None:
        assert document == as_document(document, 0)
    else:
        assert error.kind
        assert str(error).startswith("document 0")
