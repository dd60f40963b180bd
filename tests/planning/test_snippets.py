"""Snippets: what counted is marked, where it stands, and the piece is the one that has most of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3search import Document, Encoder, Index, Passages

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"
FILLER = "Nothing of interest stands in this sentence at all. " * 12


def words(snippet):
    return [snippet.text[start:stop] for start, stop in snippet.marks]


def build(*texts, **options):
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    return Index.build(documents, **{"encoder": None, **options})


def test_words_are_marked_whatever_their_form():
    with build("She was reading Archives, and read on.", "other words") as index:
        (hit,) = index.search("reads archive")
        assert words(hit.snippet) == ["reading", "Archives", "read"]
        assert str(hit.snippet) == "She was **reading** **Archives**, and **read** on."
        assert hit.text[slice(*hit.snippet.span)] == hit.snippet.text


def test_the_piece_is_where_most_counted():
    text = f"A zip. {FILLER}A zip archive is compressed here. {FILLER}An archive."
    with build(text, "archive", "compressed zip") as index:
        hit = next(hit for hit in index.search("compressed zip archive") if hit.id == "0")
        snippet = hit.snippet
        assert words(snippet) == ["zip", "archive", "compressed"]
        assert len(snippet.text) <= 240
        assert snippet.cut == (True, True)
        assert hit.text[slice(*snippet.span)] == snippet.text
        assert hit.text[snippet.span[0] - 1].isspace()
        assert hit.text[snippet.span[1]].isspace()


def test_of_a_passage_it_is_a_piece_of_that_passage():
    text = f"Zip zip. {FILLER}\n\n{FILLER}The archive of archives is in an archive."
    with build(text, passages=Passages(tokens=150)) as index:
        (hit,) = index.search("archive")
        assert hit.span[0] > 0
        assert hit.span[0] <= hit.snippet.span[0] < hit.snippet.span[1] <= hit.span[1]
        assert words(hit.snippet) == ["archive", "archives", "archive"]
        assert hit.to_dict()["snippet"] == str(hit.snippet)
        assert "<mark>archives</mark>" in index.search("archive")._repr_html_()


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("東京都は日本の首都です。", "京都", ["京都"]),
        ("我们去公园吧，公园很大。", "公园", ["公园", "公园"]),
        ("Größe der STRASSE", "straße", ["STRASSE"]),
    ],
)
def test_other_scripts(text, query, marked):
    with build(text, "another text", bm25={"language": None}) as index:
        hit = index.search(query)[0]
        assert words(hit.snippet) == marked


def test_where_nothing_counted_it_begins_with_the_passage():
    with build(FILLER, "b") as index:
        hit = index.search("", ids=["0"])[0]
        assert not hit.snippet.marks
        assert FILLER.startswith(hit.snippet.text)
        assert str(hit.snippet).endswith("…")
    with build("x" * 1000) as index:
        assert len(index.search("", ids=["0"])[0].snippet.text) == 240


def test_tokens_of_the_encoder_are_marked():
    encoder = Encoder.load(CHECKPOINT, device="cpu")
    with build("a zip archive", "another thing", encoder=encoder, bm25=False) as index:
        hit = next(hit for hit in index.search("zip archive", weights={"lexical": 1}) if hit.id == "0")
        marked = "".join(words(hit.snippet))
        assert marked
        assert all(part.strip() == part for part in words(hit.snippet))
        vectors = encoder.encode(["zip archive"], query=True)
    assert vectors.lexical is not None


def test_a_word_may_count_in_two_legs():
    encoder = Encoder.load(CHECKPOINT, device="cpu")
    with build("zip archive zip", "another thing", encoder=encoder) as index:
        hits = index.search("zip archive", weights={"lexical": 1, "bm25": 1})
        hit = next(hit for hit in hits if hit.id == "0")
        assert hit.parts["lexical"] > 0
        assert words(hit.snippet) == ["zip", "archive", "zip"]


def test_a_title_has_no_part_in_it():
    with Index.build([Document("a", "the text says zip", "zip title")], encoder=None) as index:
        (hit,) = index.search("zip title")
        assert str(hit.snippet) == "the text says **zip**"
