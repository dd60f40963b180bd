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


def test_token_vectors_are_counted(tmp_path):
    tokens = [np.ones((number % 5, 33), np.float32) for number in range(100)]
    given = Encodings(dense=np.ones((100, 2), np.float32), colbert=tokens)
    found = {}
    for codec in ("int8", "bf16", "int8+bits"):
        with Index.build(
            [""] * 100, tmp_path / codec, encoder=None, encodings=given, colbert=codec, segment_size=30
        ) as index:
            found[codec] = index.info()["colbert"]
    offsets = 8 * 104
    for codec, bytes_a_token in (("int8", 37), ("bf16", 66), ("int8+bits", 45)):
        assert found[codec]["dim"] == 33
        assert found[codec]["codec"] == codec
        assert found[codec]["tokens"] == 200
        assert 0 < found[codec]["bytes"] - 200 * bytes_a_token - offsets < 4 * 2 * 600
