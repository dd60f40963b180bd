"""Texts become the terms that BM25 needs, in every script and from every thread."""

from __future__ import annotations

import threading
import time

import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st

from m3search.analysis import analyzer as module
from m3search.analysis.analyzer import LONGEST, VERSION, Analyzer, languages
from m3search.errors import IndexFormatError, InputError

PLAIN = Analyzer(None)


def test_english_words_are_stemmed_and_none_is_dropped():
    assert Analyzer().terms("The zipped archives were READING") == ["the", "zip", "archiv", "were", "read"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("read_text, os.path-join", ["read", "text", "os", "path", "join"]),
        ("C 3.11 x86_64", ["c", "3", "11", "x86", "64"]),
        ("don't L\u2019Avion", ["don", "t", "l", "avion"]),
        ("\uff26\uff55\uff4c\uff4c m\u00b2 \ufb01ne", ["full", "m2", "fine"]),
        ("Stra\u00dfe STRASSE", ["strasse", "strasse"]),
        ("Caf\u00e9 cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("inter\u00adnational \ufeffmark", ["international", "mark"]),
        ("\u0130stanbul", ["istanbul"]),
        ("", []),
        (" \t\n ... \U0001f600 \u2192", []),
        ("\ud800 lone", ["lone"]),
    ],
)
def test_words_are_normalised_and_cut(text, terms):
    assert PLAIN.terms(text) == terms


def test_marks_stay_in_their_word():
    assert PLAIN.terms("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert len(PLAIN.terms("מְנֻקָּד")) == 1


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("東京都", ["東京", "京都"]),
        ("水", ["水"]),
        ("ひらがなとカタカナ", ["ひら", "らが", "がな", "なと", "とカ", "カタ", "タカ", "カナ"]),
        ("テスト・ケース。", ["テス", "スト", "ケー", "ース"]),
        ("Python入門 v3", ["python", "入門", "v3"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("𠀀𠀁𠀂", ["𠀀𠀁", "𠀁𠀂"]),
    ],
)
def test_scripts_without_spaces_become_bigrams(text, terms):
    assert PLAIN.terms(text) == terms


def test_a_thai_bigram_keeps_vowel_signs_and_length_does_not_cut_it():
    assert PLAIN.terms("ที่นี่") == ["ที่นี่"]
    assert len(PLAIN.terms("水" * 1000)) == 999


def test_an_endless_word_is_cut():
    assert [len(term) for term in PLAIN.terms("x" * (2 * LONGEST + 5))] == [LONGEST, LONGEST, 5]
    assert [len(term) for term in PLAIN.terms("\u00e9" * (LONGEST + 1))] == [LONGEST, 1]


@given(st.text(st.characters(max_codepoint=127)), st.sampled_from(["", " \u00e9", " \u6c34"]))
def test_plain_text_gives_the_same_terms_in_any_company(text, company):
    assert PLAIN.terms(text) == PLAIN.terms(text + company)[: len(PLAIN.terms(text))]


@given(st.text())
def test_terms_are_never_empty_and_never_grow_together(text):
    terms = Analyzer().terms(text)
    assert all(terms)
    assert PLAIN.terms(" ".join(PLAIN.terms(text))) == [
        again for term in PLAIN.terms(text) for again in PLAIN.terms(term)
    ]


@given(st.text(st.characters(categories=["Ll", "Lu", "Nd", "Zs"]), max_size=80))
def test_counts_are_the_terms_counted(text):
    analyzer = Analyzer()
    terms = analyzer.terms(text)
    assert analyzer.counts(text) == {term: terms.count(term) for term in terms}


def test_every_language_of_the_stemmer_works_by_code_and_by_name():
    assert {"en", "de", "fr", "porter"} <= set(languages())
    for name in Stemmer.algorithms():
        analyzer = Analyzer(name)
        assert analyzer.language in languages()
        assert analyzer.terms("abc") == [Stemmer.Stemmer(name).stemWord("abc")]
    assert Analyzer("english") == Analyzer("EN-us") == Analyzer("en_GB") == Analyzer()
    assert Analyzer("german").terms("H\u00e4user") == Analyzer("de").terms("H\u00e4usern") == ["haus"]


def test_turkish_keeps_its_two_letters_i():
    assert Analyzer("tr").terms("ISI \u0130S") == Analyzer("tr").terms("\u0131s\u0131 is")


@pytest.mark.parametrize("language", ["klingon", "", "xx-YY", 7])
def test_an_unknown_language_names_the_known(language):
    with pytest.raises(InputError, match=r"en, .*None for no stemming"):
        Analyzer(language)


def test_settings_survive_the_manifest():
    for analyzer in (Analyzer(), Analyzer("de"), PLAIN):
        assert Analyzer.from_dict(analyzer.to_dict()) == analyzer
    assert Analyzer().to_dict()["version"] == VERSION
    with pytest.raises(IndexFormatError, match="build the index again"):
        Analyzer.from_dict({"version": VERSION + 1, "language": "en"})


def test_threads_get_the_same_terms():
    words = [f"running{n} nationally{n % 7} houses" for n in range(2000)]
    expected = [Analyzer().terms(word) for word in words]
    found: dict[int, list[list[str]]] = {}

    def work(number):
        found[number] = [Analyzer().terms(word) for word in words]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n] == expected for n in range(4))


def test_memory_of_stems_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_KEPT_STEMS", 100)
    stems = module._Stems("english")
    assert [stems[f"houses{n}s"] for n in range(1000)] == [f"houses{n}" for n in range(1000)]
    assert len(stems) <= 100


def test_a_megabyte_a_second():
    text = "The documentation describes several interesting functions and their arguments. " * 25_000
    analyzer = Analyzer()
    start = time.process_time()
    analyzer.terms(text)
    assert len(text) / (time.process_time() - start) > 1e6
