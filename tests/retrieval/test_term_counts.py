"""BM25's words in all segments at once, held against looking each up in each segment and counting by hand."""

import bisect
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3search import Document, Index
from m3search.retrieval.addresses import pairs
from m3search.retrieval.term_counts import count_terms, counted
from m3search.storage.postings import BM25Writer, Field
from m3search.storage.term_lookup import prefixes_of

near = st.text(alphabet="ab\0ß€𝄞", max_size=12)  # beginnings of one another, many of them longer than a prefix
ALIKE = [f"beginning{'' if number % 3 else 'x'}{number}" for number in range(100)]


def numbers_of(vocabularies, wanted):
    rows, held = [], []
    for terms in vocabularies:
        writer = BM25Writer(1.2, 0.75)
        writer.append(dict.fromkeys(terms, 1))
        field = Field(writer.finish(), 1, "it")
        arrays = (field.terms, field.term_ends, prefixes_of(field.terms, field.term_ends), np.arange(field.size))
        held.append(arrays)
        rows.append(list(pairs(arrays)))
    encoded = [term.encode() for term in wanted]
    ends = np.cumsum([0, *map(len, encoded)])
    numbers, frequencies = np.empty((len(rows), len(wanted)), np.int64), np.zeros(len(wanted), np.int64)
    count_terms(np.array(rows, np.int64), np.frombuffer(b"".join(encoded), np.uint8), ends, numbers, frequencies)
    return numbers, frequencies


def bisected(terms, wanted):
    known = sorted(term.encode() for term in terms)
    places = [bisect.bisect_left(known, term.encode()) for term in wanted]
    there = [place < len(known) and known[place] == term.encode() for place, term in zip(places, wanted, strict=True)]
    return [place if found else -1 for place, found in zip(places, there, strict=True)]


@given(
    vocabularies=st.lists(st.sets(near, max_size=30), min_size=1, max_size=4),
    others=st.lists(near, max_size=20),
    data=st.data(),
)
@example(vocabularies=[{""}, set()], others=["", "a", "\0", "\0\0"], data=None)
@example(vocabularies=[set(ALIKE), set(ALIKE[::2])], others=["beginnin", "beginning", "beginningx"], data=None)
def test_words_stand_where_bisect_finds_them(vocabularies, others, data):
    wanted = [*others, *sorted(set().union(*vocabularies))]
    if data is not None:
        wanted = data.draw(st.permutations(wanted))
    numbers, frequencies = numbers_of(vocabularies, wanted)
    expected = [bisected(terms, wanted) for terms in vocabularies]
    assert numbers.tolist() == expected
    # of each word its own number was to be added
    assert frequencies.tolist() == [
        sum(own[place] for own in expected if own[place] >= 0) for place in range(len(wanted))
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257])
def test_every_word_and_every_gap_of_a_vocabulary(size):
    terms = [f"{2 * number:010}" for number in range(size)]  # the first eight characters are the same for fifty
    wanted = [f"{number:010}" for number in range(2 * size + 1)]
    numbers, _ = numbers_of([terms], wanted)
    assert numbers[0].tolist() == bisected(terms, wanted)


def test_the_living_are_counted_over_all_segments(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(40)]
    texts = {str(number): " ".join(rng.choice(words, 6)) for number in range(90)}
    made = [Document(name, text) for name, text in texts.items()]
    Index.build(made, tmp_path / "i", encoder=None, segment_size=20, bm25={"language": None}).close()
    with Index.open(tmp_path / "i", mode="w", merging="manual") as index:
        for round_ in range(3):
            with index._reading() as snapshot:
                asked = [*words, "unknown"]
                numbers, frequencies = counted(snapshot, asked)
                alive = Counter(word for text in texts.values() for word in set(text.split()))
                assert frequencies.tolist() == [alive[word] for word in asked]
                for segment, own in zip(snapshot.segments, numbers, strict=True):
                    assert own.tolist() == segment.fields["bm25"].numbers(asked).tolist()
            gone = [str(number) for number in range(round_, 90, 4) if str(number) in texts]
            index.delete(gone)
            for name in gone:
                del texts[name]
