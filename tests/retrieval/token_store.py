"""Token vectors as a segment stores them, and what MaxSim is by its formula."""

from __future__ import annotations

import numpy as np

from m3search.records.token_codes import sign_words, to_bf16, to_int8
from m3search.storage.token_vectors import TokenVectors


def vectors(rows, dim, seed=0):
    """f32[rows, dim], normalised."""
    made = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def store(passages, codec, dim=None):
    """TokenVectors of passages, each f32[t, dim]; as from a file, nothing can be written to."""
    dim = passages[0].shape[1] if dim is None else dim
    together = np.concatenate([*passages, np.empty((0, dim), np.float32)])
    arrays = {"ends": np.cumsum([0, *(len(passage) for passage in passages)], dtype=np.int64)}
    if codec == "bf16":
        arrays["codes"] = to_bf16(together)
    else:
        arrays["codes"], arrays["scales"] = to_int8(together)
    if codec == "int8+bits":
        arrays["signs"] = sign_words(together)
    for array in arrays.values():
        array.flags.writeable = False
    return TokenVectors(arrays, len(passages), dim, codec, "it")


def products(query, passage):
    """f64[m, t]."""
    return query.astype(np.float64) @ passage.astype(np.float64).T


def truth(query, passage):
    """MaxSim by its formula; 0 without tokens."""
    return products(query, passage).max(axis=1).mean() if len(passage) else 0.0
