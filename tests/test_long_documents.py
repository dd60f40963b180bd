"""Long documents end to end: cut at a build, searched as passages, answered as documents."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from m3search import Document, Encoder, Encodings, Index, Passages, errors

CHECKPOINT = Path(__file__).parent / "golden" / "checkpoint"
SENTENCES = [f"Sentence {number} speaks of thing {number % 17} and of place {number % 23}." for number in range(60)]


@pytest.fixture(scope="module")
def tiny():
    return Encoder.load(CHECKPOINT, device="cpu")


def documents(count=8):
    return [
        Document(f"d{number}", " ".join(SENTENCES[number : number + 6 * number + 1]), f"Title {number}")
        for number in range(count)
    ]


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("weights", [{"dense": 1}, {"bm25": 1}, {"dense": 1, "lexical": 0.3, "bm25": 1}])
def test_a_document_scores_as_its_best_passage(tiny, size, weights):
    passages = Passages(tokens=40, overlap=10)
    with Index.build(documents(), encoder=tiny, passages=passages, segment_size=size, dense="flat") as index:
        assert index.info()["passages"] > 2 * len(index)
        query = "thing 5 in place 11"
        every = index.search(query, 10_000, weights=weights, collapse=False)
        best = {}
        for hit in every:
            best.setdefault(hit.id, (hit.score, hit.span))
        hits = index.search(query, 100, weights=weights)
        assert hits.guarantee.startswith("exact")
        assert {hit.id: hit.score for hit in hits} == {name: score for name, (score, _) in best.items()}
        assert [hit.id for hit in hits] == sorted(best, key=lambda name: (-best[name][0], name))
        for hit in hits:
            assert hit.text[slice(*hit.span)] == hit.passage
            # of passages that tie, the first of the document
            tied = [one.span for one in every if one.id == hit.id and one.score == hit.score]
            assert hit.span == min(tied)
        pages = [name for page in index.cursor(query, 3, weights=weights) for name in page.ids]
        assert pages == hits.ids


def test_titles_stand_in_every_passage(tiny):
    with Index.build(documents(), encoder=tiny, passages=Passages(tokens=40)) as index:
        hits = index.search("title 7", 100, weights={"bm25": 1}, collapse=False)
        own = [hit for hit in hits if hit.id == "d7"]
        assert len(own) > 3
        assert all("7" in hit.title for hit in own)


def test_what_speaks_of_documents_speaks_of_whole_ones(tmp_path, tiny):
    Index.build(documents(), tmp_path / "index", encoder=tiny, passages=Passages(tokens=40)).close()
    with Index.open(tmp_path / "index", mode="w", encoder=tiny, merging="manual") as index:
        assert index.get("d7").text == documents()[7].text
        before = index.info()["passages"]
        index.delete(["d7"])
        assert "d7" not in index.search("thing 5", 1000, collapse=False).ids
        index.upsert([Document("d6", "one short text"), documents()[7]])
        hits = index.search("", ids=["d6", "d7"], collapse=False)
        assert hits.ids.count("d6") == 1
        assert hits.ids.count("d7") > 3, "what is added later is cut as at the build"
        index.merge()
        assert index.info()["passages"] < before


def test_monsters_are_indexed_and_found(tiny):
    book = "".join(f"Chapter {number}. It tells of matter{number}. " for number in range(51_000))
    assert len(book) > 2_000_000
    monsters = [
        Document("book", book),
        Document("word", "x" * 100_000),
        Document("emoji", "👩\u200d👩\u200d👧🇩🇪☃\ufe0f😀" * 2_000),
    ]
    with Index.build(monsters, encoder=tiny, passages=Passages(tokens=60), dense="flat") as index:
        hit = index.search("matter49999", 1, weights={"bm25": 1})[0]
        assert hit.id == "book"
        assert "matter49999" in hit.passage
        assert str(hit.snippet).count("**matter49999**") == 1
        for document in monsters[1:]:
            encodings = tiny.encode([document.text[:20]], query=True)
            found = index.search(Encodings(encodings.dense), 3, weights={"dense": 1})
            assert {hit.id for hit in found} == {"book", "word", "emoji"}
        spans = sorted(hit.span for hit in index.search("", ids=["word"], collapse=False, k=10_000))
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == 100_000


def test_memory_does_not_grow_with_the_number_of_long_texts():
    def texts(count):
        for number in range(count):
            yield Document(str(number), f"word{number} " * 4_000)

    def peak(count):
        tracemalloc.start()
        try:
            Index.build(texts(count), encoder=None, passages=Passages(tokens=100), segment_size=2_000).close()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # imports
    few, many = peak(12), peak(48)
    assert many < 1.5 * few


def test_without_an_encoder_words_are_counted():
    text = " ".join(f"w{number}" for number in range(100)) + " 東京都" * 10
    with Index.build([Document("a", text)], encoder=None, passages=Passages(tokens=30, by="word")) as index:
        spans = sorted(hit.span for hit in index.search("", ids=["a"], collapse=False))
        assert len(spans) == 5
        assert all(len(text[start:end].split()) <= 30 for start, end in spans)
    with Index.build([Document("a", text)], encoder=None) as index:
        assert index.info()["passages"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 4}, "whole number from 8"),
        ({"tokens": 20, "overlap": 11}, "at most half of one can be repeated"),
        ({"overlap": -1}, "overlap=-1: give a whole number of tokens from 0"),
        ({"by": "page"}, "by 'page': give one of paragraph, sentence, word"),
        ({"tokens": True}, "tokens=True"),
    ],
)
def test_impossible_passages_are_refused(options, message):
    with pytest.raises(errors.InputError, match=message):
        Passages(**options)


def test_passages_that_do_not_fit_the_build_are_refused(tiny):
    with pytest.raises(errors.InputError, match="the encoder takes 62 of a text"):
        Index.build(documents(), encoder=tiny, passages=Passages(tokens=63))
    with pytest.raises(errors.InputError, match="an overlap of 40"):
        Index.build(documents(), encoder=tiny, passages=Passages(overlap=40))
    vectors = tiny.encode(["a"])
    with pytest.raises(errors.InputError, match="passages cannot be cut where encodings are given"):
        Index.build(["a"], encoder=None, encodings=vectors, passages=Passages(tokens=10))
    with pytest.raises(errors.InputError, match="passages is a int"):
        Index.build(["a"], encoder=None, passages=100)
