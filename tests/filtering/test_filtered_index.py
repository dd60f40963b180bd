"""Filters of a live index: types at build and add, deletes, pages, facets, plans, old indexes, and every way of asking."""

import asyncio
import shutil
from pathlib import Path

import pytest

from m3search import Document, Index
from m3search.errors import DocumentError, FilterError, InputError, QueryError

GOLDEN = sorted((Path(__file__).parents[2] / "indexes").glob("golden-v*"))
DOCS = [
    Document(
        f"d{n:02}",
        f"zip archive number{n}",
        metadata={"n": n, "lang": "de" if n % 3 else "en", "tags": ["a", "b"][: n % 3]},
    )
    for n in range(30)
]


@pytest.fixture
def path(tmp_path):
    Index.build(DOCS, tmp_path / "i", encoder=None, segment_size=7).close()
    return tmp_path / "i"


@pytest.mark.parametrize("path_of_golden", GOLDEN, ids=lambda path: path.name)
def test_indexes_of_every_format_take_filters(path_of_golden, tmp_path):
    path = Path(shutil.copytree(path_of_golden, tmp_path / "golden"))
    with Index.open(path, mode="w", merging="manual") as index:
        for step in range(2):
            assert index.search("", filter="year>=1993 <2000").ids == ["zip"]
            assert index.search("read a zip archive", filter={"tags": "a"}, weights={"bm25": 1}).ids == ["zip"]
            assert index.facets("year") == {1993: 1, 2001: 1}
            with pytest.raises(FilterError, match="not indexed"):
                index.search("", filter={"nested.deep": 1.5})
            if not step:
                assert (index.info()["fields"] is None) == (path_of_golden.name < "golden-v4")
                index.merge(100)
        assert index.info()["fields"] == {"nested.deep": "partly object", "tags": "string", "year": "number"}


def test_every_way_of_asking_obeys(path):
    wanted = {"lang": "en", "n": {"gte": 6}}
    names = [f"d{n:02}" for n in range(6, 30, 3)]
    with Index.open(path) as index:
        assert sorted(index.search("zip", 20, filter=wanted).ids) == names
        assert [sorted(hits.ids) for hits in index.search_batch(["zip", "archive"], 20, filter=wanted)] == [
            names,
            names,
        ]
        assert sorted(asyncio.run(index.asearch("zip", 20, filter=wanted)).ids) == names
        assert sorted(index.similar("d09", 20, filter=wanted).ids) == [name for name in names if name != "d09"]
        assert sorted(index.similar("d01", 20, filter=wanted).ids) == names
        assert index.search("zip", 20, filter=wanted, ids=["d06", "d07", "d09"]).ids == ["d06", "d09"]
        assert index.search("zip", 20, filter={"lang": "en", "n": 7}).ids == []
        plan = index.plan("zip", 20, filter=wanted)
        assert sorted(index.search("zip", filter=wanted, plan=plan).ids) == names
        paged = [hit.id for hits in index.cursor("zip", 3, filter=wanted) for hit in hits]
        assert sorted(paged) == names
        assert [
            hit.id for start in range(0, 9, 3) for hit in index.search("zip", 3, offset=start, filter=wanted)
        ] == paged
        assert index.search("", 4, filter=wanted, offset=2).ids == names[2:6]


def test_a_cursor_keeps_to_its_filter_while_the_index_changes(path):
    with Index.open(path, mode="w") as index:
        cursor = index.cursor("zip", 3, filter="lang=en")
        first = next(cursor).ids
        index.delete(filter={"lang": "en"})
        index.add([Document("new", "zip archive", metadata={"lang": "en"})])
        rest = [hit.id for hits in cursor for hit in hits]
        assert sorted(first + rest) == [f"d{n:02}" for n in range(0, 30, 3)]
        assert index.search("zip", filter="lang=en").ids == ["new"]


def test_deleting_by_a_filter(path):
    with Index.open(path, mode="w") as index:
        assert index.delete(filter="n<3 or id any (d20, nobody)") == 4
        assert index.delete(filter="n<3") == 0
        assert len(index) == 26
        for empty in ({}, "", {"and": []}):
            with pytest.raises(FilterError, match="an empty filter is true of every document"):
                index.delete(filter=empty)
        with pytest.raises(InputError, match="say what to delete: give ids, or a filter"):
            index.delete()
        with pytest.raises(InputError, match="say what to delete"):
            index.delete(["d05"], filter="n=5")
        with index.writer() as writer:
            writer.delete(["d05"])
            assert writer.delete(filter="n in (5, 6)") == 1
        assert len(index) == 24
        with index.writer() as writer:
            writer.add([Document("x", "y")])
            with pytest.raises(InputError, match="delete first, then add"):
                writer.delete(filter="n=7")
            writer.delete(["x"])
        assert len(index) == 24
        assert index.delete(filter="not id any ()") == 24
        assert (
            index.search("zip", filter="anything=1").ids == []
        )  # nothing is left that could say what fields there are


def test_facets(path):
    with Index.open(path, mode="w") as index:
        assert index.facets("lang") == {"de": 20, "en": 10}
        assert list(index.facets("lang")) == ["de", "en"]
        assert index.facets("tags", filter="n<9") == {"a": 6, "b": 3}
        assert index.facets("n", limit=2) == {0: 1, 1: 1}
        assert len(index.facets("n", limit=None)) == 30
        assert index.facets("lang", ids=["d00", "d01", "nobody"]) == {"de": 1, "en": 1}
        assert index.facets("lang", query="number4 number6") == {"de": 1, "en": 1}
        assert index.facets("lang", query="zip", k=100) == {"de": 20, "en": 10}
        assert index.facets("lang", query="zip", k=100, filter="n>=27") == {"de": 2, "en": 1}
        assert index.facets("lang", query="", filter="n>=27") == {"de": 2, "en": 1}
        assert index.facets("lang", query="") == {}
        assert index.facets("lang", query="zip", k=5).keys() <= {"de", "en"}
        assert sum(index.facets("lang", query="zip", k=5).values()) == 5
        index.delete(filter="lang=en")
        assert index.facets("lang") == {"de": 20}
        with pytest.raises(QueryError, match="no document has a field 'lnag': did you mean 'lang'"):
            index.facets("lnag")
        with pytest.raises(QueryError, match="limit is 0: give a number of values from 1"):
            index.facets("lang", limit=0)


def test_a_value_of_another_type_is_an_error_that_names_the_document(tmp_path):
    docs = [
        {"id": "a", "text": "x", "year": 2020},
        {"id": "b", "text": "y", "year": "2021"},
        {"id": "c", "text": "z", "year": 2.5},
    ]
    message = (
        r"document 1 \(id 'b'\): metadata 'year' is str '2021', and other documents have numbers there: give values"
    )
    with pytest.raises(DocumentError, match=message) as caught:
        Index.build(docs, tmp_path / "i", encoder=None)
    assert (caught.value.where, caught.value.doc_id, caught.value.kind) == ("document 1", "b", "metadata type")
    assert not (tmp_path / "i").exists()
    with pytest.warns(match="1 record skipped"):
        index = Index.build(docs, tmp_path / "i", encoder=None, on_error="skip")
    assert index.report.skipped.kinds == {"metadata type": 1}
    assert index.search("", filter="year exists").ids == ["a", "c"]
    index.close()
    with Index.open(tmp_path / "i", mode="w") as index:
        with pytest.raises(DocumentError, match="and other documents have numbers there"):
            index.add([{"id": "d", "text": "x", "year": True}])
        with pytest.raises(DocumentError, match="other documents have numbers"):
            index.upsert([{"id": "a", "text": "x", "year": ["2020"]}])
        report = index.add(
            [{"id": "d", "text": "x", "year": "x"}, {"id": "e", "text": "x", "year": None}], on_error="skip"
        )
        assert (report.documents, report.skipped.count) == (1, 1)
        index.add([{"id": "f", "text": "x", "year": [1, 2]}])
        assert index.info()["fields"] == {"year": "list of number"}


def test_dates_beside_other_strings_are_strings(tmp_path):
    docs = [{"id": str(n), "text": "x", "day": f"2020-01-{n + 1:02}"} for n in range(9)]
    with Index.build(docs, tmp_path / "dates", encoder=None, segment_size=3) as index:
        assert index.info()["fields"] == {"day": "date"}
        assert index.search("", filter="day>=2020-01-05 <2020-01-07").ids == ["4", "5"]
    with (
        Index.open(tmp_path / "dates", mode="w") as index,
        pytest.raises(DocumentError, match=r"have dates \(ISO 8601\) there"),
    ):
        index.add([{"id": "n", "text": "x", "day": "soon"}])
    docs.append({"id": "9", "text": "x", "day": "soon"})
    with Index.build(docs, tmp_path / "mixed", encoder=None, segment_size=3) as index:
        assert index.info()["fields"] == {"day": "string"}
        assert index.search("", filter="day any (2020-01-02, soon)").ids == ["1", "9"]
        with pytest.raises(FilterError, match="dates are strings of ISO 8601 in every document"):
            index.search("", filter="day>=2020-01-05")
    with Index.open(tmp_path / "mixed", mode="w") as index:
        index.merge(100)
        assert index.search("", filter="day any (2020-01-02, soon)").ids == ["1", "9"]


def test_documents_without_a_passage_count_and_are_deleted(tmp_path):
    docs = [Document("a", "x", metadata={"n": 1}), Document("b", "", metadata={"n": 1})]
    with pytest.warns(match="1 document has no text"):
        Index.build(docs, tmp_path / "i", encoder=None).close()
    with Index.open(tmp_path / "i", mode="w") as index:
        assert index.facets("n") == {1: 2}
        assert index.delete(filter="n=1") == 2
