"""Postings: the inverted and the forward store of one field, "lexical" or "bm25".

Owns the layout of a field in a segment and both its ends, `FieldWriter` and `Field`; imports the codec and records. Invariant:
forward and inverted store hold the same (passage, term) pairs, and every exact score comes from the forward store.

Arrays of a field with n passages, t terms and p postings (blob names are ``<field>.<array>``):

    terms            u32[t] token ids, ascending; or u8 bytes of sorted UTF-8 terms, with term_ends i64[t + 1]
    row_ends         i64[n + 1]   terms of passage d: row_ends[d] to row_ends[d + 1]
    row_terms        u32[p]       term numbers, ascending within a passage
    row_values       f16|f32[p]   weights, or u16|u32[p] term frequencies
    lengths          u32[n]       number of terms of a passage, repeated ones counted (bm25 only)

and the inverted store of `block_postings`: of weights as they are stored, or of what a term frequency is worth at the mean
length of the segment.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError
from m3search.storage.block_postings import BLOCK_ARRAYS, BlockPostings, block_arrays
from m3search.storage.codec import check_ends, ends_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF_LARGEST = 65504.0
_HALF_SMALLEST_NORMAL = 2.0**-14
_LARGEST_TABLE = 2**24  # tokens up to which numbers are looked up in a table

_COMMON = ("row_ends", "row_terms", "row_values", *BLOCK_ARRAYS)
LEXICAL_ARRAYS = ("terms", *_COMMON)
BM25_ARRAYS = ("terms", "term_ends", *_COMMON, "lengths")


class LexicalWriter:
    """Collects token weights of a segment's passages."""

    def __init__(self) -> None:
        self._sizes: list[NDArray[np.int64]] = []
        self._tokens: list[NDArray[np.uint32]] = []
        self._weights: list[NDArray[np.float32]] = []
        self.postings = 0

    def append(self, lexical: Any) -> None:  # noqa: ANN401 - scipy is untyped
        """Rows of a CSR array f32[n, vocab] with sorted columns."""
        start, stop = int(lexical.indptr[0]), int(lexical.indptr[-1])
        self._sizes.append(np.diff(lexical.indptr).astype(np.int64))
        self._tokens.append(lexical.indices[start:stop].astype(np.uint32))
        self._weights.append(lexical.data[start:stop].astype(np.float32))
        self.postings += stop - start

    def append_stored(self, field: Field, rows: NDArray[np.int64]) -> None:
        """Passages of another segment as they are stored."""
        sizes, numbers, values = field.gather(rows)
        self._sizes.append(sizes)
        self._tokens.append(field.terms[numbers])
        self._weights.append(values.astype(np.float32))
        self.postings += len(numbers)

    def finish(self) -> dict[str, NDArray[Any]]:
        """The field's arrays."""
        stored = _stored(_joined(self._weights, np.float32))
        terms, numbers = _numbered(_joined(self._tokens, np.uint32))
        rows = ends_of(_joined(self._sizes, np.int64)), numbers
        return {
            "terms": terms,
            **dict(zip(("row_ends", "row_terms", "row_values"), (*rows, stored), strict=True)),
            **block_arrays(*rows, stored.astype(np.float32), len(terms)),
        }


class BM25Writer:
    """Collects term frequencies of a segment's passages.

    Args:
        k1: saturation of the term frequency, in the worth that is bounded.
        b: how much the length counts there.
    """

    def __init__(self, k1: float, b: float) -> None:
        self._k1 = k1
        self._b = b
        self._numbers: dict[str, int] = {}
        self._sizes = array("q")
        self._terms = array("I")
        self._frequencies = array("I")
        self._lengths = array("I")
        self.term_bytes = 0

    @property
    def postings(self) -> int:
        """How many there are so far."""
        return len(self._terms)

    def append(self, counts: Mapping[str, int]) -> None:
        """The term frequencies of the next passage."""
        numbers = self._numbers
        for term, count in counts.items():
            number = numbers.get(term)
            if number is None:
                number = numbers[term] = len(numbers)
                self.term_bytes += len(term.encode())
            self._terms.append(number)
            self._frequencies.append(count)
        self._sizes.append(len(counts))
        self._lengths.append(sum(counts.values()))

    def append_stored(self, field: Field, rows: NDArray[np.int64]) -> None:
        """Passages of another segment as they are stored."""
        assert field.lengths is not None
        sizes, terms, frequencies = field.gather(rows)
        table = np.zeros(field.size, np.uint32)
        for term in np.flatnonzero(np.bincount(terms, minlength=field.size)).tolist():
            word = str(field.term(term))
            number = self._numbers.get(word)
            if number is None:
                number = self._numbers[word] = len(self._numbers)
                self.term_bytes += len(word.encode())
            table[term] = number
        self._terms.frombytes(table[terms].tobytes())
        self._frequencies.frombytes(frequencies.astype(np.uint32).tobytes())
        self._sizes.frombytes(sizes.astype(np.int64).tobytes())
        self._lengths.frombytes(field.lengths[rows].tobytes())

    def finish(self) -> dict[str, NDArray[Any]]:
        """The field's arrays."""
        encoded = [term.encode() for term in self._numbers]
        order = sorted(range(len(encoded)), key=encoded.__getitem__)
        renumbered = np.empty(len(order), np.uint32)
        renumbered[order] = np.arange(len(order), dtype=np.uint32)
        frequencies = np.frombuffer(self._frequencies, np.uint32)
        small = frequencies.max(initial=0) <= np.iinfo(np.uint16).max
        values = frequencies.astype(np.uint16) if small else frequencies
        sizes = np.frombuffer(self._sizes, np.int64)
        numbers = renumbered[np.frombuffer(self._terms, np.uint32)]
        ends = ends_of(sizes)
        by_term = np.lexsort((numbers, np.repeat(np.arange(len(sizes)), sizes)))
        rows = ends, numbers[by_term]
        lengths = np.frombuffer(self._lengths, np.uint32)
        return {
            "terms": np.frombuffer(b"".join(encoded[i] for i in order), np.uint8),
            "term_ends": ends_of(np.array([len(encoded[i]) for i in order], np.int64)),
            **dict(zip(("row_ends", "row_terms", "row_values"), (*rows, values[by_term]), strict=True)),
            **block_arrays(*rows, _worth(ends, values[by_term], lengths, self._k1, self._b), len(order)),
            "lengths": lengths,
        }


def _worth(
    row_ends: NDArray[np.int64], frequencies: NDArray[Any], lengths: NDArray[np.uint32], k1: float, b: float
) -> NDArray[np.float32]:
    """What each term frequency is worth in BM25 at the segment's mean length, rounded up: f32[p]."""
    frequency = frequencies.astype(np.float64)
    norms = k1 * (1 - b + b * (lengths / (_mean_length(lengths) or 1.0)))
    worth = frequency / (frequency + np.repeat(norms, np.diff(row_ends)))
    return np.nextafter(worth.astype(np.float32), np.float32(np.inf))


def inverted_anew(arrays: Mapping[str, NDArray[Any]], k1: float, b: float) -> dict[str, NDArray[Any]]:
    """The arrays of a field whose inverted store has the layout of an older format, with that of today."""
    row_ends, values = arrays["row_ends"], arrays["row_values"]
    ends = arrays.get("term_ends")
    terms = len(arrays["terms"]) if ends is None else len(ends) - 1
    weights = values.astype(np.float32) if ends is None else _worth(row_ends, values, arrays["lengths"], k1, b)
    return {**arrays, **block_arrays(row_ends, arrays["row_terms"], weights, terms)}


def _mean_length(lengths: NDArray[np.uint32]) -> float:
    """Mean number of terms; 0 of no passages."""
    return int(lengths.sum(dtype=np.int64)) / len(lengths) if len(lengths) else 0.0


class Field:
    """The arrays of one field of a segment, as views into the store.

    Attributes:
        blocks: the inverted store.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], passages: int, where: str) -> None:
        self.terms = arrays["terms"]
        self.term_ends = arrays.get("term_ends")
        self.row_ends: NDArray[np.int64] = arrays["row_ends"]
        self.row_terms: NDArray[np.uint32] = arrays["row_terms"]
        self.row_values = arrays["row_values"]
        self.lengths: NDArray[np.uint32] | None = arrays.get("lengths")
        self._check(passages, where)
        self.blocks = BlockPostings(arrays, passages, self.size, self.postings, where)

    def _check(self, passages: int, where: str) -> None:
        same_length = len(self.row_terms) == len(self.row_values)
        if not same_length or (self.lengths is not None and len(self.lengths) != passages):
            raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")
        check_ends(self.row_ends, passages, self.postings, where)
        if self.term_ends is not None:
            check_ends(self.term_ends, self.size, len(self.terms), where)

    @property
    def size(self) -> int:
        """Number of different terms."""
        return len(self.terms) if self.term_ends is None else len(self.term_ends) - 1

    @property
    def postings(self) -> int:
        """Number of (passage, term) pairs."""
        return len(self.row_terms)

    def numbers(self, terms: Sequence[str] | NDArray[np.uint32]) -> NDArray[np.int64]:
        """Term numbers i64[q] in this segment; -1 for a term that it does not have."""
        if self.term_ends is not None:
            from m3search.storage.term_lookup import find_terms

            encoded = [str(term).encode() for term in terms]
            ends = np.fromiter(itertools.accumulate(map(len, encoded), initial=0), np.int64, len(encoded) + 1)
            found = np.empty(len(encoded), np.int64)
            find_terms(self.terms, self.term_ends, np.frombuffer(b"".join(encoded), np.uint8), ends, found)
            return found
        wanted = np.asarray(terms, np.uint32)
        places = np.searchsorted(self.terms, wanted)
        there = places < len(self.terms)
        there[there] = self.terms[places[there]] == wanted[there]
        return np.where(there, places, -1)

    def _term(self, number: int) -> bytes:
        assert self.term_ends is not None
        return self.terms[self.term_ends[number] : self.term_ends[number + 1]].tobytes()

    def term(self, number: int) -> str | int:
        """The term of this number: a word, or a token id."""
        return int(self.terms[number]) if self.term_ends is None else self._term(number).decode()

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[Any]]:
        """The forward store's rows of these passages: sizes i64[r], then all their term numbers and values in order."""
        starts = self.row_ends[rows]
        sizes = self.row_ends[rows + 1] - starts
        places = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        return sizes, self.row_terms[places], self.row_values[places]


def _stored(weights: NDArray[np.float32]) -> NDArray[Any]:
    """Weights as they are stored: rounded to f16 (11 bits), but for those outside its normal range, which stay f32.

    The rounding is decided weight by weight, so that scores do not depend on how documents fall into segments.
    """
    half = (weights <= _HALF_LARGEST) & (weights >= _HALF_SMALLEST_NORMAL)
    if half.all():
        return weights.astype(np.float16)
    return np.where(half, np.where(half, weights, 0).astype(np.float16).astype(np.float32), weights)


def _numbered(tokens: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The distinct tokens, ascending, and for each token its place among them: what np.unique gives, without its sort."""
    if not len(tokens) or int(tokens.max()) >= _LARGEST_TABLE:
        terms, places = np.unique(tokens, return_inverse=True)
        return terms, places.astype(np.uint32)
    there = np.zeros(int(tokens.max()) + 1, bool)
    there[tokens] = True
    terms = np.flatnonzero(there).astype(np.uint32)
    table = np.empty(len(there), np.uint32)
    table[terms] = np.arange(len(terms), dtype=np.uint32)
    return terms, table[tokens]


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
