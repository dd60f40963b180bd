"""Data that is hard to rank: few distinct values, so that ties are everywhere, and near ties within float32."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import sparse

from m3search import Document, Encodings
from m3search.retrieval import Query

VOCAB = 50


def sparse_rows(weights):
    return sparse.csr_array(np.array(weights, np.float32).reshape(-1, VOCAB))


def adversarial(seed, count=60):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, count)
    rows = int(sizes.sum())
    vectors = rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], (6, 8)).astype(np.float32)
    dense = vectors[rng.integers(0, 6, rows)]
    if seed % 2:  # the same, but for the last bits
        nudged = rng.random(rows) < 0.5
        dense[nudged] = np.nextafter(dense[nudged], rng.choice([-1, 1], (nudged.sum(), 8)).astype(np.float32))
    weights = np.zeros((4, VOCAB), np.float32)
    for row in range(1, 4):
        weights[row, rng.choice(10, 4, replace=False)] = rng.choice([0.125, 0.25, 0.5], 4)
    lexical = weights[rng.integers(0, 4, rows)] * (0 if seed % 5 == 4 else 1)
    tokens = [rng.choice([-0.5, 0.5], (n, 4)).astype(np.float32) for n in (0, 1, 2, 3)]
    texts = ["zip archive", "zip zip read", "json", "", "read json archive file", "file"]
    documents = [Document(f"d{number:02}", texts[rng.integers(len(texts))]) for number in rng.permutation(count)]
    colbert = [tokens[number] for number in rng.integers(0, 4, rows)]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return documents, Encodings(dense, sparse.csr_array(lexical), colbert, offsets)


def random_query(rng):
    weights = np.zeros((1, VOCAB), np.float32)
    weights[0, rng.choice(12, 5, replace=False)] = rng.choice([0.25, 1.0], 5)
    vector = rng.choice([-0.5, 0.0, 0.25, 1.0], (1, 8)).astype(np.float32)
    tokens = rng.choice([-0.5, 1.0], (rng.integers(0, 3), 4)).astype(np.float32)
    counts = Counter(rng.choice(["zip", "archiv", "read", "json", "unknown"], rng.integers(0, 4)).tolist())
    return Query.of(Encodings(vector, sparse.csr_array(weights), [tokens]), counts)
