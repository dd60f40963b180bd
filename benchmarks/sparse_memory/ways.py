"""Ways: token weights [b, l] and token ids [b, l] to lexical weights, four times the same.

Invariant: all of them give the largest weight of every token of a text and drop special ids; they differ in what they hold
on the way. `bytes_of` says what that is from the shapes alone, which is how a way that does not fit is entered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse

from m3search.encoder.lexical import TokenWeights, lexical_rows

SPECIAL = (0, 1, 2, 3)
DENSE_3D, DENSE_2D, DICTS, OURS = "[B, L, V] tensor", "[B, V] scatter", "dict loop", "m3search"


def dense_3d(weights: np.ndarray, ids: np.ndarray, vocabulary: int) -> sparse.csr_array:
    """A row of the vocabulary for every token, then the maximum over tokens: FlagEmbedding's training path."""
    grid = torch.zeros(*ids.shape, vocabulary)
    grid.scatter_(2, torch.from_numpy(ids.astype(np.int64)).unsqueeze(-1), torch.from_numpy(weights).unsqueeze(-1))
    found = grid.max(dim=1).values
    found[:, list(SPECIAL)] = 0
    return sparse.csr_array(found.numpy())


def dense_2d(weights: np.ndarray, ids: np.ndarray, vocabulary: int) -> sparse.csr_array:
    """The maximum scattered into a row of the vocabulary for every text."""
    found = torch.zeros(ids.shape[0], vocabulary)
    found.scatter_reduce_(1, torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(weights), "amax")
    found[:, list(SPECIAL)] = 0
    return sparse.csr_array(found.numpy())


def dicts(weights: np.ndarray, ids: np.ndarray, _vocabulary: int) -> list[dict[str, Any]]:
    """A Python loop over all tokens, a dict a text: what FlagEmbedding returns."""
    found = []
    for row in range(len(ids)):
        mine: dict[str, Any] = defaultdict(int)
        for weight, token in zip(weights[row], ids[row].tolist(), strict=True):
            if token not in SPECIAL and weight > 0 and weight > mine[str(token)]:
                mine[str(token)] = weight
        found.append(mine)
    return found


def ours(weights: np.ndarray, ids: np.ndarray, vocabulary: int) -> sparse.csr_array:
    """Pairs of text and token, sorted, and the largest weight of each."""
    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    part = TokenWeights.collapse(rows, ids.ravel(), weights.ravel(), without=np.array(SPECIAL, np.int32))
    return lexical_rows([part], texts=len(ids), vocab_size=vocabulary)


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, int], Any]] = {
    DENSE_3D: dense_3d,
    DENSE_2D: dense_2d,
    DICTS: dicts,
    OURS: ours,
}


def bytes_of(way: str, texts: int, tokens: int, vocabulary: int) -> int | None:
    """What a way holds at least, from its shapes; None where it does not depend on the vocabulary."""
    return {DENSE_3D: 4 * texts * tokens * vocabulary, DENSE_2D: 4 * texts * vocabulary}.get(way)


def batch(texts: int, tokens: int, vocabulary: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights f32[b, l] >= 0 and ids i32[b, l]: frequent words and rare ones, special ids at both ends."""
    generator = np.random.default_rng(seed)
    ids = (vocabulary ** generator.random((texts, tokens))).astype(np.int32).clip(4, vocabulary - 1)
    ids[:, 0], ids[:, -1] = 0, 2
    weights = np.maximum(generator.normal(0.02, 0.1, (texts, tokens)), 0).astype(np.float32)
    return weights, ids


def as_matrix(found: Any, vocabulary: int) -> sparse.csr_array:
    """What a way gave, as CSR with sorted columns, to be compared."""
    if isinstance(found, list):
        columns = [np.array([int(key) for key in one], np.int32) for one in found]
        values = [np.array(list(one.values()), np.float32) for one in found]
        indptr = np.cumsum([0, *map(len, columns)])
        found = sparse.csr_array(
            (np.concatenate(values), np.concatenate(columns), indptr), shape=(len(columns), vocabulary)
        )
    found.sort_indices()
    return found
