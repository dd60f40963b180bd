"""Equality with FlagEmbedding 1.4.2 and, for the embedded model, with plain transformers."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
ATOL = 1e-5


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "flagembedding.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def texts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_texts", GOLDEN / "texts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def encodings(tiny, texts):
    return tiny.encode(texts.TEXTS, colbert=True)


def test_there_are_forty_texts(texts, golden):
    assert len(texts.TEXTS) == len(set(texts.TEXTS)) == len(golden["dense"]) == 40


def test_dense(encodings, golden):
    np.testing.assert_allclose(encodings.dense, golden["dense"], rtol=0, atol=ATOL)


def test_lexical(encodings, golden):
    indptr = golden["lexical_indptr"]
    assert indptr[-1] > 500
    for row in range(len(encodings)):
        part = slice(indptr[row], indptr[row + 1])
        ids, weights = golden["lexical_ids"][part].tolist(), golden["lexical_weights"][part].tolist()
        theirs = dict(zip(ids, weights, strict=True))
        ours = {int(key): weight for key, weight in encodings.lexical_dict(row).items()}
        # a weight within the tolerance of 0 may stand in one and not in the other
        for key in theirs.keys() | ours.keys():
            assert ours.get(key, 0.0) == pytest.approx(theirs.get(key, 0.0), rel=0, abs=ATOL), (row, key)


def test_colbert(encodings, golden):
    assert [len(vectors) for vectors in encodings.colbert] == np.diff(golden["colbert_indptr"]).tolist()
    np.testing.assert_allclose(np.concatenate(encodings.colbert), golden["colbert"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("choice", range(5))
def test_compute_score(tiny, texts, golden, choice):
    pairs = [(texts.TEXTS[query], texts.TEXTS[passage]) for query, passage in texts.PAIRS]
    scores = tiny.compute_score(pairs, texts.WEIGHTS[choice])
    assert list(scores) == ["colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense"]
    np.testing.assert_allclose(list(scores.values()), golden["scores"][choice], rtol=0, atol=ATOL)


def test_the_limit_cuts_some_golden_texts(tiny, texts, encodings):
    lengths = np.array([len(spans) for spans in tiny.token_spans(texts.TEXTS)])
    assert tiny.max_tokens == texts.MAX_TOKENS
    assert (lengths > tiny.room).sum() >= 2
    assert max(len(vectors) for vectors in encodings.colbert) == tiny.max_tokens - 1


def test_mini_equals_plain_transformers(mini):
    with np.load(GOLDEN / "mini.npz", allow_pickle=False) as file:
        texts, dense = file["texts"].tolist(), file["dense"]
    np.testing.assert_allclose(mini.encode(texts, lexical=False).dense, dense, rtol=0, atol=ATOL)
