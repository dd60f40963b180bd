"""What an index says of itself is what can be counted."""

import json

import numpy as np
from scipy import sparse

from m3search import Encodings, Index
from m3search.storage import Environment, Snapshot


def test_postings_terms_and_readers_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    weights = sparse.random_array((2000, 50), density=0.1, rng=rng, format="csr", dtype=np.float32)
    weights.data += 0.01
    texts = (f"word{number % 3} common" for number in range(2000))
    path = tmp_path / "i"
    Index.build(texts, path, encoder=None, encodings=Encodings(lexical=weights), segment_size=1000).close()
    with Index.open(path) as index:
        info = json.loads(json.dumps(index.info()))
        lexical, bm25 = info["inverted"]["lexical"], info["inverted"]["bm25"]
        assert lexical["postings"] == weights.nnz
        assert lexical["terms"] == lexical["frequent_terms"] == 100  # 50 in each of two segments, all frequent
        assert lexical["rare_postings"] == 0
        assert 2 < lexical["bytes_per_posting"] < 4
        assert bm25["postings"] == 4000
        assert bm25["terms"] == 8
        assert info["bytes"]["store"] == info["bytes"]["live"] + info["bytes"]["free"]
        assert 0 < info["bytes"]["payload"] < info["bytes"]["live"]
        before = info["readers"]

        environment = Environment.open(path / "store")
        held = Snapshot.latest(environment, path)
        with Index.open(path, mode="w") as writer:
            writer.delete(["0"])
            writer.delete(["1"])
        after = index.info()["readers"]
        assert before["behind"] == 0
        assert after["count"] == before["count"] + 1
        assert after["behind"] >= 2
        held.release()
        environment.close()
