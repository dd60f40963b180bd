"""Bring your own vectors: no encoder is needed, neither to build nor to search."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from m3search import Encodings, Index

rng = np.random.default_rng(0)
DOCUMENTS, DIM, VOCABULARY = 1000, 64, 5000


def batches(count: int, size: int = 250) -> Iterator[Encodings]:
    """Dense vectors and token weights as another program might have stored them, batch by batch."""
    for _ in range(0, count, size):
        dense = rng.standard_normal((size, DIM)).astype(np.float32)
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        lexical = sparse.random_array((size, VOCABULARY), density=0.01, format="csr", dtype=np.float32, rng=rng)
        yield Encodings(dense=dense, lexical=lexical)


texts = (f"document number {number}" for number in range(DOCUMENTS))
with Index.build(texts, encoder=None, encodings=batches(DOCUMENTS)) as index:
    print(index)
    query = next(batches(1, size=1))
    hits = index.search(query, k=3, weights={"dense": 1, "lexical": 0.3})
    print(hits.ids, hits.guarantee)

    # vectors can be read out again, in the batches that `build` takes
    documents, encodings = next(index.export(batch=10))
    print(len(documents), encodings.dense.shape, encodings.lexical.nnz)
