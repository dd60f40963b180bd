"""The scripts that make the embedded model's heads and gather their text."""

import gzip
import json

import numpy as np
import pytest

from m3search import Encoder
from m3search.encoder import mini as mini_model
from m3search.errors import InputError, SourceError
from m3search.training.examples import Example
from m3search.training.mini_heads import (
    States,
    fit_ridge,
    inverse_document_frequency,
    learn_lexical,
    make_heads,
    principal_directions,
)
from m3search.training.mini_text import (
    docstring_pairs,
    examples,
    judged_names,
    manual_pairs,
    metadata_pairs,
    package_pairs,
)


def test_ridge_finds_a_planted_solution_in_batches():
    generator = np.random.default_rng(3)
    states = generator.normal(size=(500, 6))
    weight = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 0.25])
    targets = states @ weight + 0.7
    batches = [(states[start : start + 130], targets[start : start + 130]) for start in range(0, 500, 130)]
    found, bias, explained = fit_ridge(iter(batches), hidden=6, ridge=1e-9)
    np.testing.assert_allclose(found, weight, atol=1e-6)
    assert bias == pytest.approx(0.7, abs=1e-6)
    assert explained == pytest.approx(1, abs=1e-9)
    shrunk, bias, explained = fit_ridge(iter(batches), hidden=6, ridge=1e9)
    assert np.abs(shrunk).max() < 1e-3
    # the bias is not penalised: it falls back to the mean
    assert bias == pytest.approx(targets.mean(), abs=1e-3)
    assert explained == pytest.approx(0, abs=1e-3)


def test_idf_counts_a_document_once():
    ids = [np.array([1, 1, 2], np.int32), np.array([1], np.int32), np.array([1, 3], np.int32)]
    idf = inverse_document_frequency(ids, 5)
    np.testing.assert_allclose(idf[1], np.log1p(0.5 / 3.5))
    np.testing.assert_allclose(idf[2], np.log1p(2.5 / 1.5))
    assert (idf > 0).all()
    assert idf[4] > idf[3] == idf[2] > idf[1]


def states_of(rows, ids):
    lengths = [len(row) for row in ids]
    return States(
        np.asarray(rows, np.float16),
        np.concatenate(ids).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.ones(sum(lengths), bool),
    )


def test_principal_directions_keep_what_differs():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(3000, 5)) * np.array([0.01, 3.0, 0.01, 1.0, 0.1])
    directions, kept = principal_directions(states_of(rows, [np.arange(3000)]), 2)
    np.testing.assert_allclose(directions, [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], atol=0.05)
    assert 0.95 < kept < 1


def test_contrast_learns_which_tokens_tell_texts_apart():
    # both sides of a pair share one token of their own, with states in one direction; three others, in another, are by chance
    generator = np.random.default_rng(2)
    sides = []
    for _ in range(2):
        ids = [np.array([row + 10, *generator.choice(6, 3, replace=False)]) for row in range(40)]
        rows = np.concatenate([[[1, 0], [0, 1], [0, 1], [0, 1]] for _ in ids]) + generator.normal(size=(160, 2)) * 0.01
        sides.append(states_of(rows, ids))
    weight, bias, losses = learn_lexical(*sides, np.array([0.3, 0.3]), 0.0, steps=100, seed=1)
    own, shared = np.maximum(np.eye(2) @ weight + bias, 0)
    assert own > 2 * shared
    assert losses[-1] < losses[0]


PAIRS = [
    Example("open a zip file", ("zip archives are opened and their files are read",)),
    Example("wait for threads", ("a lock that threads wait for before they go on",)),
    Example("random numbers", ("numbers by chance from a generator with a seed",)),
    Example("rows with commas", ("files of comma separated values",)),
]


def test_the_same_pairs_give_the_same_heads(tmp_path):
    note = make_heads(PAIRS, tmp_path / "a", source="four pairs", dim=16, steps=5)
    make_heads(PAIRS, tmp_path / "b", source="four pairs", dim=16, steps=5)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["colbert_linear.safetensors", "provenance.json", "sparse_linear.safetensors"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert note["pairs_count"] == 4
    with pytest.raises(InputError, match="at least two pairs"):
        make_heads(PAIRS[:1], tmp_path / "c", source="")
    with pytest.raises(InputError, match="cannot have 500 dimensions"):
        make_heads(PAIRS, tmp_path / "c", source="", dim=500)


def test_the_heads_that_ship_weigh_rare_words_more():
    note = json.loads((mini_model.HEADS / "provenance.json").read_text(encoding="utf-8"))
    assert note["model_sha256"] == mini_model.SHA256
    mini = Encoder.load("mini", device="cpu")
    weights = mini.encode(["how do you read a zip archive with the library"]).lexical_dict(0, tokens=True)
    common = max(weights.get(word, 0.0) for word in ("do", "a", "with", "the"))
    assert min(weights[word] for word in ("zip", "archive", "library")) > common


STANZAS = """Package: alpha
Description-md5: 1
Description-en: opens archives
 Alpha opens archives of every kind and reads
 what is in them, one after the other.
 .
 It is small.

Package: beta
Description-en: the same again
 Alpha opens archives of every kind and reads what is in them, one after the other.
 .
 It is small.

Package: gamma
Description-en: locks for threads
 Gamma has locks that threads wait for, and queues between them, all in one small library.
"""


def test_packages_and_what_is_left_out(tmp_path):
    (tmp_path / "x_i18n_Translation-en.gz").write_bytes(gzip.compress(STANZAS.encode()))
    pairs = list(package_pairs(tmp_path, set()))
    assert pairs[0] == (
        "opens archives",
        "Alpha opens archives of every kind and reads what is in them, one after the other. It is small.",
    )
    assert len(pairs) == 3
    # beta says what alpha says, so it goes with it
    assert [short for short, _ in package_pairs(tmp_path, {"alpha"})] == ["locks for threads"]
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    (beir / "queries.jsonl").write_text('{"_id": "q", "text": "t"}\n')
    (beir / "qrels" / "dev.tsv").write_text("q\tgamma\t1\n")
    assert judged_names([beir]) == {"gamma"}
    with pytest.raises(SourceError, match=r"no qrels/\*\.tsv"):
        judged_names([tmp_path])


MAN = r""".TH X 1
.SH NAME
x \- open \fBzip\fR archives
.SH SYNOPSIS
x [file]
.SH DESCRIPTION
.B x
opens archives \- all of them,
.I one
after the other.
.SH BUGS
none
"""
MDOC = ".Sh NAME\n.Nm y\n.Nd lock a file\n.Sh DESCRIPTION\nThe\n.Nm\nprogram locks a file.\n"


def test_manual_pages(tmp_path):
    (tmp_path / "man1").mkdir()
    for name, text in (("x.1.gz", MAN), ("y.1.gz", MDOC)):
        (tmp_path / "man1" / name).write_bytes(gzip.compress(text.encode()))
    (tmp_path / "man1" / "z.1.gz").write_bytes(b"no gzip")
    assert list(manual_pairs(tmp_path)) == [
        ("open zip archives", "x opens archives - all of them, one after the other."),
        ("lock a file", "The program locks a file."),
    ]


def test_docstrings_and_distributions_are_there():
    assert sum(len(long) > 80 for _, long in docstring_pairs()) > 1000
    assert any("pytest" in short.lower() for short, _ in metadata_pairs())


def test_pairs_are_cleaned_and_none_comes_twice():
    long = "It does one thing. It does another thing that takes longer to say. It also does a third thing, slowly."
    pairs = [
        ("does  things", long),
        ("does things", long + " More."),
        ("other words", long),
        ("too short", "short"),
        ("empty package", "This is a dummy package that says nothing of its own and only pulls in other packages."),
    ]
    (only,) = examples(pairs, seed=3)
    assert only.query == "does things" or only.query in long
    both = {examples([("does things", long)], seed=seed)[0].query == "does things" for seed in range(20)}
    assert both == {True, False}
