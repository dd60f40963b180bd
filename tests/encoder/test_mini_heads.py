"""The script that makes the embedded model's heads."""

import json

import numpy as np
import pytest

from m3search.encoder import mini as mini_model
from m3search.errors import SourceError
from m3search.training.mini_heads import fit_ridge, inverse_document_frequency, make_heads, read_texts


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


def test_the_same_documents_give_the_same_heads(tmp_path):
    texts = ["open a zip file", "the file is read", "the archive and the file", "read the zip archive"]
    note = make_heads(texts, tmp_path / "a", source="four sentences")
    make_heads(texts, tmp_path / "b", source="four sentences")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["colbert_linear.safetensors", "provenance.json", "sparse_linear.safetensors"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert note["documents_count"] == 4


def test_the_heads_that_ship_weigh_rare_words_more(mini):
    note = json.loads((mini_model.HEADS / "provenance.json").read_text(encoding="utf-8"))
    assert note["model_sha256"] == mini_model.SHA256
    weights = mini.encode(["how do you read a zip archive with the library"]).lexical_dict(0, tokens=True)
    common = max(weights.get(word, 0.0) for word in ("do", "a", "with", "the"))
    assert min(weights[word] for word in ("zip", "archive", "library")) > common


def test_documents_are_title_and_text(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text('{"text": "body", "title": "head"}\n\n{"text": "alone\u2028here"}\n', encoding="utf-8")
    assert read_texts(path) == ["head\nbody", "alone\u2028here"]


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"text": "a"}\n{"text"', "documents.jsonl:2 is no JSON"), ('{"id": 1}', ":1 has no text"), ("", "no documents")],
)
def test_documents_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "documents.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        read_texts(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_texts(tmp_path / "absent.jsonl")
