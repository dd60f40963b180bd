"""Short texts: how sources are cut, and that the weights are bm25s's."""

import json
from pathlib import Path

import bm25s
import numpy as np
import pytest
from lexical import bm25_texts
from lexical.collection import cached, load
from lexical.texts import Text, beir, debian, sources
from scipy import sparse

from m3search.analysis.analyzer import Analyzer

LIST = """\
Package: one
Version: 1
Description: Reader of archives
Homepage: http://example.org

Package: two
Description-md5: 00
Description-en: Writer of archives
 It writes large archives. It is fast, says e.g. its
 author.
 .
 Among its features:
  * writes to a socket at once
  * tar

Package: three
Description-de: Leser
"""


def test_descriptions_are_cut_into_title_and_sentences(tmp_path: Path) -> None:
    path = tmp_path / "debian_dists_stable_main_i18n_Translation-en"
    path.write_text(LIST)
    assert list(debian(path)) == [
        Text("Reader of archives", ()),
        Text(
            "Writer of archives",
            (
                "It writes large archives.",
                "It is fast, says e.g.",
                "Among its features:",
                "writes to a socket at once",
            ),
        ),
        Text("Leser", ()),
    ]


def test_sources_are_what_is_there(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "host_debian_dists_stable_main_i18n_Translation-en").write_text(LIST)
    (lists / "host_debian_dists_stable_main_i18n_Translation-de").write_text(LIST)
    (lists / "host_debian_dists_stable_InRelease").write_text("nothing to read")
    folder = tmp_path / "collections" / "small"
    folder.mkdir(parents=True)
    record = {"_id": "1", "title": "A title", "text": "One sentence of words. Another of some words!\nShort."}
    (folder / "corpus.jsonl").write_text(json.dumps(record) + "\n")
    found = sources(lists, tmp_path / "collections")
    english, german = (f"debian stable_main_i18n_Translation-{language}" for language in ("en", "de"))
    assert list(found) == [english, "small", german]
    assert list(found["small"]) == [Text("A title", ("One sentence of words.", "Another of some words!"))]
    assert len(list(found[english])) == 3
    assert sources(tmp_path / "missing", None) == {}


def test_an_unreadable_corpus_says_so(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"title": "no text"}\n')
    with pytest.raises(KeyError, match="text"):
        list(beir(path))


@pytest.fixture
def texts() -> list[Text]:
    rng = np.random.default_rng(5)
    words = np.array([f"word{number}" for number in range(80)])
    shares = 1 / np.arange(1, 81)
    shares /= shares.sum()

    def sentence() -> str:
        return " ".join(rng.choice(words, rng.integers(3, 12), p=shares))

    return [Text(sentence(), (sentence(), sentence())) for _ in range(400)]


def test_weights_are_those_of_bm25s(texts: list[Text]) -> None:
    analyzer = Analyzer()
    rows = bm25_texts._Rows()
    pieces = [piece for text in texts for piece in (text.title, *text.sentences)]
    for piece in pieces:
        rows.append(analyzer.counts(piece))
    ends, terms, weights = bm25_texts._bm25(rows)
    matrix = sparse.csr_array((weights.astype(np.float32), terms.astype(np.int32), ends)).tocsc()
    retriever = bm25s.BM25(method="lucene", k1=bm25_texts.K1, b=bm25_texts.B)
    retriever.index([analyzer.terms(piece) for piece in pieces], show_progress=False)
    for term, number in rows.numbers.items():
        assert matrix[:, [number]].toarray()[:, 0] == pytest.approx(retriever.get_scores([term]), rel=2**-10)


def test_queries_are_held_out_titles(texts: list[Text], tmp_path: Path) -> None:
    folder = cached(tmp_path / "texts", 1, lambda place: bm25_texts.write(place, {"made": texts}, 10_000))
    collection = load(folder, queries=1000, tuning=1000)
    assert collection.about["sources"] == {"made": len(collection)}
    assert not collection.weighted
    counts = Analyzer().counts
    pieces = {piece for text in texts for piece in (text.title, *text.sentences) if len(counts(piece)) > 1}
    assert len(collection.queries) == len(pieces) - len(collection)
    assert 5 < len(collection.queries) < len(texts) / 10
    for query in collection.queries:
        assert (np.diff(query.terms.astype(np.int64)) > 0).all()
        assert (query.weights == 1).all()
    assert [one.terms.tolist() for one in load(folder, queries=3, tuning=2).queries] == [
        one.terms.tolist() for one in collection.queries[:3]
    ]


def test_the_limit_holds_and_each_text_counts_once(texts: list[Text], tmp_path: Path) -> None:
    about = bm25_texts.write(tmp_path, {"first": texts, "again": texts}, 10_000)
    assert list(about["sources"]) == ["first"]
    about = bm25_texts.write(tmp_path, {"first": texts[:200], "second": texts[200:], "third": texts}, 900)
    assert about["documents"] == sum(about["sources"].values()) == 900
    assert list(about["sources"]) == ["first", "second"]


def test_no_texts_say_where_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0 short texts.*--collections.*apt-get update"):
        bm25_texts.write(tmp_path, {}, 100)
