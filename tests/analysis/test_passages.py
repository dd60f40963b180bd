"""Long texts become passages that hold every character once and fit into the encoder."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3search import Document, Encoder
from m3search.analysis.passages import Cutter, Passage, whole
from m3search.records.passages import ENDS

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"
_loaded: list[Encoder] = []


def tiny() -> Encoder:
    """The golden checkpoint, loaded once; not a fixture, because hypothesis does not like them."""
    if not _loaded:
        _loaded.append(Encoder.load(CHECKPOINT, device="cpu"))
    return _loaded[0]


def cut(text, room, title="", **how):
    document = Document("d", text, title)
    (passages,) = Cutter(room, tiny().token_spans, **how).split([document])
    return document, passages


def tokens(content):
    return len(tiny().token_spans([content])[0])


def widest(text):
    """Tokens that cannot be parted: those of one character, or a piece of a word and the space put before it."""
    return max([2, *(tokens(character) for character in set(text))])


def check(document, passages, room, overlap=0):
    """Everything that is promised of the passages of one document."""
    place, all_tokens = 0, tiny().token_spans([document.text])[0].tolist()
    prefix = f"{document.title}\n" if document.title.strip() else ""
    titles = [passage for passage in passages if passage.span == (0, 0)]
    for passage in passages:
        start, end = passage.span
        if passage in titles:
            assert passage.content in document.content
            continue
        assert start < end <= len(document.text)
        assert place < end if overlap else place <= start
        repeated = [first for first, _ in all_tokens if start <= first < place]
        assert len(repeated) <= max(overlap, widest(document.text) if overlap else 0)
        assert not document.text[place:start].strip(), "only white space lies between passages"
        assert passage.content.endswith(document.text[start:end])
        assert passage.content.removesuffix(document.text[start:end]) in ({prefix, ""} if titles else {prefix})
        place = end
    assert not document.text[place:].strip()
    if titles:
        left = "".join("".join(passage.content.split()) for passage in titles)
        assert left == "".join(document.title.split())
    for passage in passages:
        assert passage.content.strip()
        assert tokens(passage.content) <= max(room, widest(passage.content))


SCRIPTS = [
    st.characters(min_codepoint=0x20, max_codepoint=0x7E),
    st.sampled_from("abc de\n\t  fgh,.("),
    st.sampled_from("水が流れる東京都、。 "),
    st.sampled_from("ที่นี่ครับ "),
    st.sampled_from("한국어 문장각"),
    st.sampled_from("हिन्दी भाषा क़"),
    st.sampled_from("مرحبا بالعالم ﷺ"),
    st.sampled_from("e\u0301o\u0308x \u0323"),
    st.sampled_from("👩\u200d👧🏽🇩🇪☃\ufe0f "),
    st.sampled_from("\u200b\u00ad\ufeff\x00\x1f\x85\u3000 a"),
    st.characters(exclude_categories=["Cs"]),
]
TEXTS = st.lists(st.one_of([st.text(script, max_size=40) for script in SCRIPTS]), max_size=8).map("".join)


@given(
    TEXTS,
    st.integers(1, 62),
    st.one_of(st.just(""), TEXTS),
    st.sampled_from(ENDS),
    st.sampled_from([0, 0, 1, 4, 30]),
)
@settings(max_examples=400, deadline=None)
def test_every_character_lies_in_a_passage_that_fits(text, room, title, by, overlap):
    overlap = min(overlap, room // 2)
    document, passages = cut(text, room, title, by=by, overlap=overlap)
    if not document.content.strip():
        assert passages == []
    elif len(passages) == 1 and passages[0].content == document.content:
        assert passages == whole(document)
        assert tokens(document.content) <= max(room, widest(document.content))
    else:
        assert len(passages) > 1 or tokens(document.content) > room
        check(document, passages, room, overlap)


def test_a_short_text_is_one_passage():
    document = Document("d", " some text\n", "Title")
    assert Cutter(62, tiny().token_spans).split([document]) == [[Passage((0, 11), "Title\n some text\n")]]


@pytest.mark.parametrize(("title", "text"), [("", ""), (" ", "\n\t "), ("", "\u3000")])
def test_nothing_gives_no_passage(title, text):
    assert whole(Document("d", text, title)) == []
    assert cut(text, 62, title)[1] == []


def test_a_title_alone_is_a_passage():
    assert cut("", 62, "Only a title")[1] == [Passage((0, 0), "Only a title\n")]


def test_words_stay_whole_where_they_fit():
    text = " ".join(f"word{number}" for number in range(60))
    document, passages = cut(text, 20)
    check(document, passages, 20)
    assert [word for passage in passages for word in passage.content.split()] == text.split()
    # as full as whole words allow: one more word would not have fitted
    for passage, after in pairwise(passages):
        assert tokens(f"{passage.content} {after.content.split()[0]}") > 20


def test_passages_end_where_sentences_do():
    sentences = [f"This is sentence {number} of Dr. Smith's, e.g. for a test." for number in range(40)]
    document, passages = cut("  ".join(sentences), 150)
    check(document, passages, 150)
    assert [passage.content for passage in passages] != sentences, "some fit together"
    assert all(passage.content.startswith("This") and passage.content.endswith("test.") for passage in passages)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("今天天气很好。我们去公园吧！" * 30, "。！"),
        ("これは文です。次の文ですか？" * 30, "。？"),
        ("यह वाक्य है। " * 60, "।"),
    ],
)
def test_sentences_of_other_scripts_end_passages(text, end):
    mini = Encoder.load("mini", device="cpu")  # whose tokenizer knows these characters one by one
    (passages,) = Cutter(50, mini.token_spans).split([Document("d", text)])
    assert len(passages) > 5
    assert all(passage.content[-1] in end for passage in passages)
    assert max(len(spans) for spans in mini.token_spans([passage.content for passage in passages])) <= 50


def test_a_script_without_full_stops_is_cut_at_its_spaces():
    text = " ".join(["สวัสดีครับผม", "ผมชื่อจอห์น", "วันนี้อากาศดี"] * 20)
    document, passages = cut(text, 50)
    check(document, passages, 50)
    assert [word for passage in passages for word in passage.content.split()] == text.split()


def test_a_paragraph_is_not_parted_where_it_fits():
    paragraphs = [
        "\n".join(f"Line {line} of paragraph {number}. It goes on." for line in range(2)) for number in range(9)
    ]
    text = "\n \n".join(paragraphs)
    document, passages = cut(text, 62, by="paragraph")
    check(document, passages, 62)
    assert len(passages) > 3
    assert all(passage.content.startswith("Line 0") and passage.content.endswith("on.") for passage in passages)
    ends = {passage.span[1] for passage in passages}
    assert ends <= {text.index(paragraph) + len(paragraph) for paragraph in paragraphs}


def test_a_sentence_longer_than_a_passage_is_cut_at_a_word():
    document, passages = cut("Short one. " + "word " * 100 + "end. Another short one.", 40)
    check(document, passages, 40)
    assert all(passage.content.split()[0] in {"Short", "word"} for passage in passages)


def test_neighbours_repeat_whole_sentences():
    sentences = [f"Sentence {number} is here." for number in range(60)]
    document, passages = cut(" ".join(sentences), 50, overlap=20)
    check(document, passages, 50, overlap=20)
    for passage, after in pairwise(passages):
        repeated = document.text[after.span[0] : passage.span[1]]
        assert repeated.startswith("Sentence")
        assert repeated.endswith("here.")
        assert 20 - tokens(sentences[-1]) < tokens(repeated) <= 20


def test_neighbours_repeat_words_where_sentences_are_too_long():
    document, passages = cut("word " * 300, 50, overlap=10, by="word")
    check(document, passages, 50, overlap=10)
    for passage, after in pairwise(passages):
        assert len(document.text[after.span[0] : passage.span[1]].split()) * tokens("word") == pytest.approx(10, abs=5)


def test_one_huge_word_is_cut_where_there_is_room():
    document, passages = cut("x" * 1000, 30)
    check(document, passages, 30)
    assert len(passages) <= 1000 // 20
    assert "".join(passage.content for passage in passages) == document.text


def test_a_huge_word_does_not_spoil_its_neighbours():
    document, passages = cut(f"one two {'y' * 200} three four", 30)
    check(document, passages, 30)
    assert passages[0].content == "one two"
    assert passages[-1].content.endswith("three four")


@pytest.mark.parametrize("room", [3, 4, 7, 20])
def test_a_mark_stays_with_its_letter(room):
    document, passages = cut("e\u0301" * 80, room)
    check(document, passages, room)
    assert not [passage for passage in passages if passage.content.startswith("\u0301")]


def test_a_joined_emoji_is_not_torn():
    family = "👩\u200d👩\u200d👧"
    document, passages = cut("".join(f"{family}{letter}" for letter in "abcdefghij" * 5), 12)
    check(document, passages, 12)
    assert len(passages) > 3
    assert "".join(passage.content for passage in passages).count(family) == 50
    assert all(passage.content.count("👧") == passage.content.count(family) for passage in passages)


@pytest.mark.parametrize("text", ["水が流れる東京都" * 30, "ที่นี่ครับผม" * 30, "한국어문장" * 40])
def test_scripts_without_spaces_fill_their_passages(text):
    document, passages = cut(text, 40)
    check(document, passages, 40)
    assert "".join(passage.content for passage in passages) == text
    assert min(tokens(passage.content) for passage in passages[:-1]) >= 25


def test_a_character_of_many_tokens_is_not_torn():
    # the mini model's tokenizer takes a syllable apart into three letters
    mini = Encoder.load("mini", device="cpu")
    for room, longest in ((1, 1), (2, 1), (5, 1), (6, 2)):
        (passages,) = Cutter(room, mini.token_spans).split([Document("d", "각각각각각")])
        assert "".join(passage.content for passage in passages) == "각각각각각"
        assert max(len(passage.content) for passage in passages) == longest


def test_a_short_text_of_many_tokens_is_cut():
    mini = Encoder.load("mini", device="cpu")
    text = "각각각각각 " * 21
    assert len(text) <= mini.room // 2
    assert len(mini.token_spans([text])[0]) > mini.room
    (passages,) = Cutter(mini.room, mini.token_spans).split([Document("d", text)])
    assert len(passages) == 2
    assert all(len(spans) <= mini.room for spans in mini.token_spans([passage.content for passage in passages]))


def test_the_title_stands_before_every_passage():
    document, passages = cut("some words here " * 20, 40, "Title")
    check(document, passages, 40)
    assert len(passages) > 5
    assert all(passage.content.startswith("Title\nsome") for passage in passages[:1])
    assert all(passage.content.startswith("Title\n") for passage in passages)


def test_a_long_title_gets_passages_of_its_own():
    title = "a very long title " * 10
    document, passages = cut("short text", 40, title)
    check(document, passages, 40)
    assert passages[-1] == Passage((0, 10), "short text")
    assert {passage.span for passage in passages[:-1]} == {(0, 0)}
    assert len(passages) > 2


def test_many_documents_are_cut_as_each_alone():
    texts = ["", "short", "long " * 50, "水" * 200, "x" * 100]
    documents = [Document(str(number), text, "T" * number) for number, text in enumerate(texts)]
    cutter = Cutter(25, tiny().token_spans)
    assert cutter.split(documents) == [cutter.split([document])[0] for document in documents]


def test_a_megabyte_takes_seconds():
    text = "The documentation describes several interesting functions, and their arguments. " * 4_000
    start = time.process_time()
    _, passages = cut(text, 62, overlap=20)
    assert len(passages) > 1000
    assert time.process_time() - start < 15
