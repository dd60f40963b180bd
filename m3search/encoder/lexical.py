"""Lexical outputs: token weights of a batch to sparse rows.

Imports numpy and scipy only. Invariant: memory grows with the tokens, never with the size of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenWeights:
    """Weights > 0 of distinct (row, id) pairs, ordered by row, then id.

    Attributes:
        rows: i64[m], the text a weight belongs to.
        ids: i32[m], the token.
        weights: f32[m].
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def collapse(
        cls,
        rows: NDArray[np.int64],
        ids: NDArray[np.int32],
        weights: NDArray[np.float32],
        *,
        without: NDArray[np.int32],
    ) -> Self:
        """The largest weight of every (row, id) pair, as M3 takes it (BGE-M3 paper, section 3.2).

        Args:
            rows: i64[t], the text of every token.
            ids: i32[t], the tokens, repeats included.
            weights: f32[t], before or after the relu: what is not above 0 is dropped.
            without: ids that enter no lexical output.
        """
        kept = np.flatnonzero((weights > 0) & ~np.isin(ids, without))
        rows, ids, weights = rows[kept], ids[kept], weights[kept]
        order = np.lexsort((ids, rows))
        rows, ids, weights = rows[order], ids[order], weights[order]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (ids[1:] != ids[:-1])
        starts = np.flatnonzero(first)
        largest = np.maximum.reduceat(weights, starts) if len(starts) else weights
        return cls(rows[starts], ids[starts], largest)


def lexical_rows(parts: Sequence[TokenWeights], *, texts: int, vocab_size: int) -> sparse.csr_array:
    """The rows of all batches as one matrix.

    Args:
        parts: what the batches gave; a row is wholly in one of them.
        texts: number of rows.
        vocab_size: number of columns.

    Returns:
        CSR f32[texts, vocab_size], columns sorted.
    """
    rows = np.concatenate([np.empty(0, np.int64), *(part.rows for part in parts)])
    ids = np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)])
    weights = np.concatenate([np.empty(0, np.float32), *(part.weights for part in parts)])
    order = np.argsort(rows, kind="stable")
    indptr = np.zeros(texts + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=texts), out=indptr[1:])
    return sparse.csr_array((weights[order], ids[order], indptr), shape=(texts, vocab_size))
