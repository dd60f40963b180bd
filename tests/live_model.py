"""A dict that says what an index must hold, and brute force over it.

A document is (id, version): its text, passages and vectors are functions of the two, so a model fits into a line of text.
"""

import functools
import zlib
from itertools import pairwise

import numpy as np
import pytest
from bm25_oracle import bm25_scores
from scipy import sparse

from m3search import Document, Encodings, Index

WORDS = "zip archive read write socket http json parse thread lock queue file path time date random".split()
DIM, VOCAB, TOKEN_DIM = 6, 30, 3
QUERY = "read the zip file"
BLENDS = [{"dense": 1}, {"lexical": 1}, {"bm25": 1}, {"dense": 1, "lexical": 0.3, "bm25": 0.5}]


@functools.lru_cache(4096)
def content(name, version):
    """(text, dense f32[p, DIM], weights f32[p, VOCAB], token vectors)."""
    rng = np.random.default_rng(zlib.crc32(f"{name}/{version}".encode()))
    passages = int(rng.integers(1, 3))
    text = f"version {version} " + " ".join(rng.choice(WORDS, rng.integers(3, 9)))
    dense = rng.normal(size=(passages, DIM)).astype(np.float32)
    weights = rng.integers(0, 5, (passages, VOCAB)).astype(np.float32) / 4
    weights[rng.random((passages, VOCAB)) < 0.7] = 0
    tokens = [rng.normal(size=(rng.integers(1, 4), TOKEN_DIM)).astype(np.float32) for _ in range(passages)]
    return text, dense, weights, tokens


def document(name, version):
    return Document(name, content(name, version)[0], "", {"version": version})


def encodings(named):
    """Of a list of (id, version)."""
    parts = [content(*one) for one in named]
    sizes = [len(dense) for _, dense, _, _ in parts]
    return Encodings(
        np.concatenate([np.empty((0, DIM), np.float32), *(dense for _, dense, _, _ in parts)]),
        sparse.csr_array(np.concatenate([np.empty((0, VOCAB), np.float32), *(part[2] for part in parts)])),
        [matrix for part in parts for matrix in part[3]],
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )


def given(named):
    """Documents and encodings, as `add` takes them."""
    named = list(named)
    return [document(*one) for one in named], encodings(named)


def build(path, named, **options):
    options = {"segment_size": 40, "colbert": "int8", **options}
    documents, vectors = given(named)
    Index.build(documents, path, encoder=None, encodings=vectors, **options).close()


QUERY_ENCODINGS = encodings([("the query", 0)]).rows(0, 1)


def truth(model, weights):
    """id -> score of everything that is found."""
    if not model:
        return {}
    named = list(model.items())
    parts = [content(*one) for one in named]
    texts = [part[0] for part in parts for _ in part[1]]
    legs = {
        "dense": np.concatenate([part[1] for part in parts]).astype(float) @ QUERY_ENCODINGS.dense[0].astype(float),
        "lexical": np.concatenate([part[2] for part in parts]).astype(float) @ QUERY_ENCODINGS.lexical.toarray()[0],
        "bm25": bm25_scores(texts, QUERY) if "bm25" in weights else None,
    }
    rows = sum(weight * legs[leg] for leg, weight in weights.items()) / sum(weights.values())
    ends = np.concatenate([[0], np.cumsum([len(part[1]) for part in parts])])
    best = {name: float(rows[start:stop].max()) for (name, _), (start, stop) in zip(named, pairwise(ends), strict=True)}
    return best if "dense" in weights else {name: score for name, score in best.items() if score > 0}


def check(index, model, k=1000, blends=BLENDS):
    """Whether an index holds exactly the model, in its documents, its facts and its answers."""
    held = {found.id: found for found in index}
    assert {name: found.metadata["version"] for name, found in held.items()} == model
    assert len(index) == len(model)
    for name, version in model.items():
        assert held[name].text == content(name, version)[0]
    for weights in blends:
        hits = index.search(QUERY, k, weights=weights, encodings=QUERY_ENCODINGS)
        expected = truth(model, weights)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-9), weights
        assert [hit.id for hit in hits] == [hit.id for hit in sorted(hits, key=lambda hit: (-hit.score, hit.id))]
