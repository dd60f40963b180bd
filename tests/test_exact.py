"""The certified blend against brute force over all documents, on every query, for the presets and random weights.

On generated documents always; on real collections where M3SEARCH_COLLECTIONS names a folder of BEIR folders, which are encoded
first: minutes. The comparison itself is that of `benchmarks/exact.py`.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from m3search import Document, Encoder, Encodings, Index
from m3search.indexing.sources import open_source

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from exact.brute_force import BruteForce
from exact.command import KS, blends, compared, equal, queries_of

FOLDER = os.environ.get("M3SEARCH_COLLECTIONS")
COUNT, DIM, VOCAB, TOPICS = 3000, 32, 4000, 25


class Encoded:
    """Stands where an encoder does: the queries' vectors were drawn with them."""

    def __init__(self, queries):
        self.queries = queries

    def encode(self, texts, *, query):
        assert query
        return Encodings.concatenate([self.queries[text] for text in texts])


def generated(count, rng, worlds):
    """Texts and vectors of documents or queries: topics decide about both."""
    centers, words, tokens = worlds
    topics = rng.integers(0, TOPICS, count)
    dense = centers[topics] + 0.6 * rng.normal(size=(count, DIM))
    dense = (dense / np.linalg.norm(dense, axis=1, keepdims=True)).astype(np.float32)
    texts, weights = [], sparse.lil_array((count, VOCAB), dtype=np.float32)
    for row, topic in enumerate(topics):
        own = rng.choice(words[topic], rng.integers(3, 12))
        texts.append(" ".join([*own, *rng.choice(words[-1], 4)]))
        for token in [*rng.choice(tokens[topic], 8), *rng.choice(VOCAB, 4)]:
            weights[row, token] = rng.uniform(0.01, 0.35)
    return texts, Encodings(dense, sparse.csr_array(weights))


@pytest.mark.parametrize("size", [200, 10_000])
def test_generated_documents(tmp_path, size):
    rng = np.random.default_rng(0)
    words = [[f"word{rng.integers(600)}" for _ in range(30)] for _ in range(TOPICS + 1)]
    worlds = rng.normal(size=(TOPICS, DIM)), words, [rng.choice(VOCAB, 60) for _ in range(TOPICS)]
    texts, encodings = generated(COUNT, rng, worlds)
    texts[::40], encodings.dense[::40] = [texts[0]] * len(texts[::40]), encodings.dense[0]  # near duplicates
    asked, vectors = generated(25, rng, worlds)
    encoder = Encoded({text: vectors.rows(row, row + 1) for row, text in enumerate(asked)})
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    with Index.build(
        documents, tmp_path / "i", encoder=None, encodings=encodings, segment_size=size, dense="flat"
    ) as index:
        found = compared(index, list(encoder.queries), encoder, seed=1)
    assert found["first_differing"] == []
    assert found["searches"] == len(encoder.queries) * len(blends(1)) * len(KS)
    assert set(found["guarantees"]["10"]) <= {"exact", "exact up to ties at rank k"}
    assert found["guarantees"]["10"]["exact"] > 100
    assert found["segments"] == -(-COUNT // size)


def test_the_comparison_finds_what_is_wrong(tmp_path):
    documents = [Document(f"d{number}", f"zip file {'zip ' * number}") for number in range(5)]
    vectors = Encodings(np.eye(5, dtype=np.float32), sparse.csr_array(np.zeros((5, 3), np.float32)))
    with Index.build(documents, tmp_path / "i", encoder=None, encodings=vectors) as index:
        oracle = BruteForce(index)
        query = vectors.rows(0, 1)
        hits = index.search("zip", 3, weights={"dense": 1, "bm25": 1}, encodings=query)
        truth = oracle.documents(oracle.parts("zip", query), {"dense": 1, "bm25": 1})
        assert equal(hits, oracle, truth, 3)
        assert not equal(hits, oracle, truth, 4)
        moved = truth.copy()
        moved[np.argsort(-truth)[1]] += 1e-6
        assert not equal(hits, oracle, moved, 3)
        other = index.search("zip", 3, weights={"dense": 1, "bm25": 0.9}, encodings=query)
        assert not equal(other, oracle, truth, 3)


@pytest.mark.skipif(not FOLDER, reason="M3SEARCH_COLLECTIONS names no folder of BEIR folders")
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::m3search.errors.M3SearchWarning")  # some documents are empty
@pytest.mark.parametrize("name", ["cranfield", "cacm", "debian-de"])
def test_real_collections(tmp_path, name):
    folder = Path(FOLDER) / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not in {FOLDER}")
    encoder = Encoder.load("mini")
    with Index.build(open_source(folder), tmp_path / "i", encoder=encoder, segment_size=2000) as index:
        found = compared(index, queries_of(folder), encoder, seed=0)
    assert found["first_differing"] == []
    assert found["searches"] > 2000
