"""Query: what the legs are asked, already encoded and analysed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

import numpy as np

from m3search.records import frozen
from m3search.retrieval.terms import NO_TOKENS, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from m3search.records import Encodings
    from m3search.retrieval.bm25 import TermStatistics
    from m3search.storage import Snapshot

_NO_WEIGHTS = np.empty(0)


@frozen
class Query:
    """One query; a part that is None or empty matches nothing in its leg.

    Attributes:
        dense: f32[dim].
        wide: the same in float64.
        length: of this vector.
        tokens: u32[q] lexical token ids, ascending.
        token_weights: f64[q] > 0.
        terms: BM25 terms, ascending by UTF-8 bytes.
        term_counts: f64[terms], how often each stands in the query.
        colbert: f32[m, dim].
        dense_effort: nprobe or efSearch of approximate dense indexes; None: as was measured when they were built.
        statistics: what the BM25 leg worked out of the terms for a snapshot, and need not again; None: there are no terms.
    """

    dense: NDArray[np.float32] | None
    tokens: NDArray[np.uint32]
    token_weights: NDArray[np.float64]
    terms: tuple[str, ...]
    term_counts: NDArray[np.float64]
    colbert: NDArray[np.float32] | None
    dense_effort: int | None = None
    wide: NDArray[np.float64] | None = None
    length: float = 0.0
    statistics: WeakKeyDictionary[Snapshot, TermStatistics] | None = None

    @classmethod
    def of(cls, encodings: Encodings | None, counts: Mapping[str, int] | None, dense_effort: int | None = None) -> Self:
        """From the encodings of one text and its BM25 term frequencies."""
        tokens, weights = NO_TOKENS, _NO_WEIGHTS
        dense = wide = colbert = None
        length = 0.0
        if encodings is not None:
            if encodings.lexical is not None:
                tokens = encodings.lexical.indices.astype(np.uint32)
                weights = encodings.lexical.data.astype(np.float64)
            if encodings.dense is not None:
                dense = np.array(encodings.dense[0])  # contiguous and writable: what the loops are compiled for
                wide = dense.astype(np.float64)
                length = math.sqrt(wide @ wide)
            colbert = None if encodings.colbert is None else encodings.colbert[0]
        terms = tuple(sorted(counts, key=str.encode)) if counts else ()
        frequencies = np.array([counts[term] for term in terms], np.float64) if counts else _NO_WEIGHTS
        statistics: WeakKeyDictionary[Snapshot, TermStatistics] | None = WeakKeyDictionary() if terms else None
        return cls(dense, tokens, weights, terms, frequencies, colbert, dense_effort, wide, length, statistics)

    @property
    def lexical(self) -> Terms:
        """The tokens, as the loops take them."""
        return Terms(self.token_weights, self.tokens)
