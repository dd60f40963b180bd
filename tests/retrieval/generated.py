"""Generated documents with encodings, indexes of them, and every leg's score by brute force over what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from m3search import Document, Encodings, Index
from m3search.analysis.analyzer import Analyzer
from m3search.retrieval import Query
from m3search.storage import Environment, Snapshot

DIM, VOCAB, TOKEN_DIM = 12, 3000, 8
WORDS = ["zip", "archive", "read", "write", "socket", "http", "json", "parse", "thread", "lock", "水が流れる", "ที่นี่"]
TOKENS = np.arange(0, VOCAB, 97)


@dataclass
class Collection:
    """Documents and the vectors of their passages; `passages` is i64[rows], the document of each row."""

    documents: list[Document]
    encodings: Encodings

    @property
    def rows_of(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.documents)), np.diff(self.encodings.offsets))


def collection(seed: int, count: int = 40, longest: int = 3) -> Collection:
    """Documents of 1 to `longest` passages, with what is hard: duplicates, near ties, empty rows, extreme weights."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, longest + 1, count)
    rows = int(sizes.sum())
    dense = rng.normal(size=(rows, DIM)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    weights = np.zeros((rows, VOCAB), np.float32)
    for row in range(rows):
        chosen = rng.choice(TOKENS, rng.integers(0, 7), replace=False)
        # most in fp16's range, some below and above it
        weights[row, chosen] = rng.choice([1, 1, 1, 1e-9, 1e6], len(chosen)) * rng.uniform(0.01, 0.4, len(chosen))
    tokens = [rng.normal(size=(rng.integers(0, 6), TOKEN_DIM)).astype(np.float32) for _ in range(rows)]
    texts = [" ".join(rng.choice(WORDS, rng.integers(0, 14))) for _ in range(count)]
    for copy in range(count // 4):  # exact duplicates, and some that differ in the last bits
        source, target = int(rng.integers(rows)), int(rng.integers(rows))
        dense[target] = dense[source]
        if copy % 2:
            dense[target] = np.nextafter(dense[target], np.float32(2))
        weights[target], tokens[target] = weights[source], tokens[source]
        texts[int(rng.integers(count))] = texts[int(rng.integers(count))]
    documents = [Document(f"d{number:03}", text) for number, text in enumerate(texts)]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Collection(documents, Encodings(dense, sparse.csr_array(weights), tokens, offsets))


def queries(seed: int) -> dict[str, Query]:
    """Queries with all parts, with none that matches, and with no part at all."""
    rng = np.random.default_rng(1000 + seed)
    dense = rng.normal(size=(1, DIM)).astype(np.float32)
    weights = np.zeros((1, VOCAB), np.float32)
    weights[0, rng.choice(TOKENS, 8, replace=False)] = rng.uniform(0.01, 0.5, 8)
    weights[0, 5] = 0.3  # a token that no document has
    token_vectors = rng.normal(size=(4, TOKEN_DIM)).astype(np.float32)
    counts = Analyzer("en").counts("read the zip archive, read 水が流れる unknownword")
    unknown = np.zeros((1, VOCAB), np.float32)
    unknown[0, [1, 2]] = 0.5
    return {
        "all parts": Query.of(Encodings(dense, sparse.csr_array(weights), [token_vectors]), counts),
        "nothing known": Query.of(Encodings(-dense, sparse.csr_array(unknown), [-token_vectors[:1]]), {"nowhere": 2}),
        "no parts": Query.of(None, None),
        "all zero": Query.of(
            Encodings(
                np.zeros((1, DIM), np.float32), sparse.csr_array((1, VOCAB), dtype=np.float32), [token_vectors[:0]]
            ),
            {},
        ),
    }


@contextmanager
def snapshot(
    path: Path, made: Collection, segment_size: int, deleted: list[str] = (), *, colbert: str = "int8"
) -> Iterator[Snapshot]:
    """An index of these documents, as the legs see it."""
    Index.build(
        made.documents, path, encoder=None, encodings=made.encodings, colbert=colbert, segment_size=segment_size
    ).close()
    if deleted:
        with Index.open(path, mode="w", merging="manual") as index:
            index.delete(deleted)
    environment = Environment.open(path / "store")
    try:
        with Snapshot.latest(environment, path) as opened:
            yield opened
    finally:
        environment.close()


# -- the truth, leg by leg, over passages in the order of indexing --


def truth(leg: str, made: Collection, query: Query, live: np.ndarray) -> np.ndarray:
    """f64[rows] scores; `live` is bool[rows], which only BM25's statistics depend on."""
    return {"dense": _dense, "lexical": _lexical, "bm25": _bm25, "colbert": _colbert}[leg](made, query, live)


def _dense(made: Collection, query: Query, live: np.ndarray) -> np.ndarray:
    if query.dense is None:
        return np.zeros(len(live))
    return made.encodings.dense.astype(np.longdouble) @ query.dense.astype(np.longdouble)


def _lexical(made: Collection, query: Query, live: np.ndarray) -> np.ndarray:
    weights = made.encodings.lexical.toarray()
    half = (weights >= 2.0**-14) & (weights <= 65504)
    stored = np.where(
        half, np.where(half, weights, 0).astype(np.float16).astype(np.float64), weights.astype(np.float64)
    )
    wanted = np.zeros(VOCAB)
    wanted[query.tokens] = query.token_weights
    return stored @ wanted


def _bm25(made: Collection, query: Query, live: np.ndarray) -> np.ndarray:
    analyzer = Analyzer("en")
    counts = [analyzer.counts(made.documents[document].content) for document in made.rows_of]
    lengths = np.array([sum(count.values()) for count in counts], float)
    scores, top = np.zeros(len(counts)), 0.0
    for term, times in zip(query.terms, query.term_counts, strict=True):
        found = np.array([count.get(term, 0) for count in counts], float)
        frequency = (found > 0)[live].sum()
        if not frequency:
            continue
        idf = np.log(1 + (live.sum() - frequency + 0.5) / (frequency + 0.5))
        top += times * idf
        scores += times * idf * found / (found + 1.2 * (0.25 + 0.75 * lengths / lengths[live].mean()))
    return scores / top if top else scores


def _colbert(made: Collection, query: Query, live: np.ndarray) -> np.ndarray:
    scores = np.zeros(len(live))
    if query.colbert is None or not len(query.colbert):
        return scores
    for row, vectors in enumerate(made.encodings.colbert):
        if not len(vectors):
            continue
        scale = np.abs(vectors).max(axis=1, keepdims=True) / np.float32(127)  # the codec int8
        stored = np.rint(vectors / scale).astype(np.float64) * scale.astype(np.float64)
        scores[row] = (query.colbert.astype(np.float64) @ stored.T).max(axis=1).mean()
    return scores
