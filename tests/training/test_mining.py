"""Hard negatives from an index."""

import json

import pytest

from m3search import Index
from m3search.errors import InputError
from m3search.training.examples import Example
from m3search.training.mining import Mined, Question, mine, questions_of_beir, questions_of_examples

TEXTS = {
    "zip": "read and write zip archives",
    "zip2": "Read  and write zip archives",
    "tar": "read and write tar archives",
    "gzip": "compress and read files of gzip",
    "json": "parse and dump json text",
    "lock": "a lock that threads wait for",
    "queue": "a queue between threads",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    documents = [{"id": name, "text": text} for name, text in TEXTS.items()]
    path = tmp_path_factory.mktemp("mining") / "index"
    with Index.build(documents, path, encoder=None, progress=False) as built:
        yield built


def found_by(index, query, positives, **options):
    question = Question(query, {name: TEXTS[name] for name in positives})
    return list(mine(index, [question], **options))


def test_negatives_are_the_best_that_do_not_answer(index):
    (example,) = found_by(index, "read zip archives", ["zip"], negatives=2)
    assert example.positives == (TEXTS["zip"],)
    # zip2 has the same score, and is left out
    assert example.negatives == (TEXTS["tar"], TEXTS["gzip"])


def test_the_same_text_is_no_negative(index):
    documents = [{"id": "a", "text": "one two"}, {"id": "b", "text": "one  two"}, {"id": "c", "text": "one three"}]
    with Index.build(documents, encoder=None, progress=False) as other:
        (example,) = mine(other, [Question("one two", {"a": "one two"})])
    assert example.negatives == ("one three",)


def test_the_margin_is_of_the_worst_positive(index):
    hits = {hit.id: hit.score for hit in index.search("read zip archives", 10)}
    assert hits["zip"] > hits["tar"] > hits["gzip"] > 0
    found = Mined()
    share = hits["tar"] / hits["zip"]
    question = [Question("read zip archives", {"zip": TEXTS["zip"]})]
    (example,) = mine(index, question, margin=share * 0.999, found=found)
    assert TEXTS["tar"] not in example.negatives
    assert example.negatives[0] == TEXTS["gzip"]
    assert (found.examples, found.too_near, found.negatives) == (1, 2, len(example.negatives))
    # with a positive that scores low, little is left
    assert found_by(index, "read zip archives", ["zip", "lock"]) == []


def test_scores_are_the_blends(index):
    (example,) = found_by(index, "read zip archives", ["zip"], negatives=1, scores=True)
    hits = {hit.id: hit.score for hit in index.search("read zip archives", 10)}
    assert example.positive_scores == (hits["zip"],)
    assert example.negative_scores == (hits["tar"],)


def test_random_follows_from_the_seed(index):
    chosen = [
        found_by(index, "read and write zip archives", ["zip"], negatives=1, choose="random", seed=n) for n in range(8)
    ]
    assert chosen[0] == found_by(index, "read and write zip archives", ["zip"], negatives=1, choose="random", seed=0)
    assert len({one[0].negatives for one in chosen if one}) > 1


def test_positives_of_examples_are_found_by_their_text(index):
    questions = questions_of_examples(
        index, [Example("q", ("read and\nwrite tar archives",), ("x",)), Example("r", ("nowhere",))]
    )
    assert questions == [Question("q", {"tar": "read and\nwrite tar archives"}), Question("r", {})]
    found = Mined()
    assert list(mine(index, [questions[1]], found=found)) == []
    assert (found.unknown, found.first_unknown) == (1, "r")


def test_judgements_make_questions(index, tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "threads"}) + "\n")
    (tmp_path / "qrels" / "train.tsv").write_text("q1\tlock\t1\nq1\tqueue\t0\nq1\tgone\t2\n")
    assert questions_of_beir(index, tmp_path) == [Question("threads", {"lock": TEXTS["lock"]})]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "negatives and depth from 1"),
        ({"margin": 1.5}, "margin 1.5"),
        ({"choose": "worst"}, "choose is 'worst'"),
    ],
)
def test_numbers_that_cannot_be(index, options, message):
    with pytest.raises(InputError, match=message):
        found_by(index, "q", ["zip"], **options)
