"""Looking terms up in a compiled loop, held against Python's bisect over the same bytes."""

import bisect

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3search import Index
from m3search.storage.postings import BM25Writer, Field

near = st.text(
    alphabet="ab\0zß€𝄞\x7f\x80\U0010ffff", max_size=4
)  # many beginnings of one another, and one to four bytes
texts = st.one_of(near, st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12))


def field_of(terms):
    writer = BM25Writer(1.2, 0.75)
    writer.append(dict.fromkeys(terms, 1))
    return Field(writer.finish(), 1, "it")


def bisected(terms, wanted):
    known = sorted(term.encode() for term in terms)
    found = []
    for term in wanted:
        place = bisect.bisect_left(known, term.encode())
        found.append(place if place < len(known) and known[place] == term.encode() else -1)
    return found


@given(terms=st.sets(texts, max_size=40), others=st.lists(texts, max_size=20), data=st.data())
@example(terms={""}, others=["", "a"], data=None)
@example(terms={"a", "aa", "aaa", "ab"}, others=["", "a", "aa", "aaaa", "aab", "b"], data=None)
@example(terms={"é", "e", "z", "€", "𝄞"}, others=["é", "\u00c3", "e\u0301", "\x7f", "\U0010ffff"], data=None)
def test_terms_stand_where_bisect_finds_them(terms, others, data):
    wanted = [*others, *terms]
    if data is not None:
        wanted = data.draw(st.permutations(wanted))
    numbers = field_of(terms).numbers(wanted)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == bisected(terms, wanted)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4095, 4096, 4097])
def test_every_term_and_every_gap_of_a_vocabulary(size):
    terms = [f"{2 * number:06}" for number in range(size)]
    wanted = [f"{number:06}" for number in range(-1, 2 * size + 1)]
    assert field_of(terms).numbers(wanted).tolist() == bisected(terms, wanted)


def test_terms_of_an_index_on_disk(tmp_path):
    words = ["straße", "strasse", "日本", "日", "naïve", "naive", "nai"]
    with Index.build([" ".join(words), "nai"], tmp_path / "i", encoder=None, bm25={"language": None}) as index:
        (segment,) = index._snapshot.segments
        field = segment.fields["bm25"]
        terms = [field.term(number) for number in range(field.size)]
        assert len(terms) >= 6
        wanted = [*terms, *words, "", "n", "naivet", "zz"]
        assert field.numbers(wanted).tolist() == bisected(terms, wanted)
        assert field.numbers([]).tolist() == []


def test_no_term_is_found_in_an_empty_field():
    assert field_of([]).numbers(["", "a"]).tolist() == [-1, -1]
