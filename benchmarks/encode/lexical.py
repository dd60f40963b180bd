"""Lexical outputs alone: token weights of a batch to what a user gets, ours beside FlagEmbedding's own loop."""

from __future__ import annotations

import statistics
import time
import tracemalloc
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from m3search.encoder.lexical import TokenWeights, lexical_rows

TEXTS, TOKENS = 32, 512


def measure(vocabulary: int, tokenizer: Any, *, passes: int, seed: int) -> dict[str, Any]:
    """Times of a batch and what it takes in memory; both give the same weights, or this fails.

    Args:
        vocabulary: number of ids.
        tokenizer: FlagEmbedding's, which its loop asks for special tokens; None measures ours alone.
        passes: the figures are medians of so many.
        seed: of ids and weights.
    """
    generator = np.random.default_rng(seed)
    ids = (vocabulary ** generator.random((TEXTS, TOKENS))).astype(np.int32).clip(4, vocabulary - 1)
    ids[:, 0], ids[:, -1] = 0, 2
    weights = np.maximum(generator.normal(0.02, 0.1, (TEXTS, TOKENS)), 0).astype(np.float32)
    rows, wordless = np.repeat(np.arange(TEXTS), TOKENS), np.arange(4, dtype=np.int32)

    def ours() -> Any:
        part = TokenWeights.collapse(rows, ids.ravel(), weights.ravel(), without=wordless)
        return lexical_rows([part], texts=TEXTS, vocab_size=vocabulary)

    matrix = ours()
    found: dict[str, Any] = {}
    tracemalloc.start()
    ours()
    found["extra_bytes"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    ways = {"m3search": ours}
    if tokenizer is not None:
        loop = _their_loop(tokenizer)
        lists = ids.tolist()
        ways["FlagEmbedding"] = lambda: [loop(weights[row], lists[row]) for row in range(TEXTS)]
        for row, theirs in enumerate(ways["FlagEmbedding"]()):
            start, stop = matrix.indptr[row], matrix.indptr[row + 1]
            mine = dict(zip(map(str, matrix.indices[start:stop]), matrix.data[start:stop], strict=True))
            if mine != dict(theirs):
                raise AssertionError(f"the lexical weights of text {row} differ")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(passes):
        for name, way in ways.items():
            started = time.process_time()
            way()
            times[name].append(time.process_time() - started)
    return found | {"seconds": {name: statistics.median(values) for name, values in times.items()}}


def _their_loop(tokenizer: Any) -> Callable[[Any, Any], dict[str, Any]]:
    """FlagEmbedding's `_process_token_weights`, which is defined within its method, as its own code has it."""
    from FlagEmbedding.inference.embedder.encoder_only import m3

    method = m3.M3Embedder.encode_single_device
    code = next(
        constant
        for constant in getattr(method, "__wrapped__", method).__code__.co_consts
        if isinstance(constant, types.CodeType) and constant.co_name == "_process_token_weights"
    )
    owner = types.SimpleNamespace(tokenizer=tokenizer)
    return types.FunctionType(code, vars(m3), closure=(types.CellType(owner),))
