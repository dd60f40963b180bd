"""Postings: the inverted and the forward store of one field, "lexical" or "bm25".

Owns the layout of a field in a segment and both its ends, `FieldWriter` and `Field`; imports the codec and records. Invariant:
forward and inverted store hold the same (passage, term, value) triples, and every exact score comes from the forward store.

Arrays of a field with n passages, t terms and p postings (blob names are ``<field>.<array>``):

    terms            u32[t] token ids, ascending; or u8 bytes of sorted UTF-8 terms, with term_ends i64[t + 1]
    posting_ends     i64[t + 1]   postings of term i: posting_ends[i] to posting_ends[i + 1]
    posting_docids   u32[p]       passages, ascending within a term
    posting_values   f16|f32[p]   weights, or u16|u32[p] term frequencies
    row_ends         i64[n + 1]   terms of passage d: row_ends[d] to row_ends[d + 1]
    row_terms        u32[p]       term numbers, ascending within a passage
    row_values       as posting_values
    lengths          u32[n]       number of terms of a passage, repeated ones counted (bm25 only)
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError
from m3search.storage.codec import check_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF_LARGEST = 65504.0
_HALF_SMALLEST_NORMAL = 2.0**-14

_COMMON = ("posting_ends", "posting_docids", "posting_values", "row_ends", "row_terms", "row_values")
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

    def finish(self) -> dict[str, NDArray[Any]]:
        """The field's arrays."""
        weights = _joined(self._weights, np.float32)
        terms, numbers = np.unique(_joined(self._tokens, np.uint32), return_inverse=True)
        return {
            "terms": terms,
            **_invert(_ends(_joined(self._sizes, np.int64)), numbers.astype(np.uint32), _stored(weights), len(terms)),
        }


class BM25Writer:
    """Collects term frequencies of a segment's passages."""

    def __init__(self) -> None:
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
        ends = _ends(sizes)
        by_term = np.lexsort((numbers, np.repeat(np.arange(len(sizes)), sizes)))
        return {
            "terms": np.frombuffer(b"".join(encoded[i] for i in order), np.uint8),
            "term_ends": _ends(np.array([len(encoded[i]) for i in order], np.int64)),
            **_invert(ends, numbers[by_term], values[by_term], len(order)),
            "lengths": np.frombuffer(self._lengths, np.uint32),
        }


class Field:
    """The arrays of one field of a segment, as views into the store."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], passages: int, where: str) -> None:
        self.terms = arrays["terms"]
        self.term_ends = arrays.get("term_ends")
        self.posting_ends: NDArray[np.int64] = arrays["posting_ends"]
        self.posting_docids: NDArray[np.uint32] = arrays["posting_docids"]
        self.posting_values = arrays["posting_values"]
        self.row_ends: NDArray[np.int64] = arrays["row_ends"]
        self.row_terms: NDArray[np.uint32] = arrays["row_terms"]
        self.row_values = arrays["row_values"]
        self.lengths: NDArray[np.uint32] | None = arrays.get("lengths")
        self._check(passages, where)

    def _check(self, passages: int, where: str) -> None:
        same_length = len(
            {len(self.posting_docids), len(self.posting_values), len(self.row_terms), len(self.row_values)}
        )
        if same_length != 1 or (self.lengths is not None and len(self.lengths) != passages):
            raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")
        check_ends(self.row_ends, passages, self.postings, where)
        check_ends(self.posting_ends, self.size, self.postings, where)
        if self.term_ends is not None:
            check_ends(self.term_ends, self.size, len(self.terms), where)

    @property
    def size(self) -> int:
        """Number of different terms."""
        return len(self.terms) if self.term_ends is None else len(self.term_ends) - 1

    @property
    def postings(self) -> int:
        """Number of (passage, term) pairs."""
        return len(self.posting_docids)

    def numbers(self, terms: Sequence[str] | NDArray[np.uint32]) -> NDArray[np.int64]:
        """Term numbers i64[q] in this segment; -1 for a term that it does not have."""
        if self.term_ends is not None:
            return np.array([self._find(str(term).encode()) for term in terms], np.int64)
        wanted = np.asarray(terms, np.uint32)
        places = np.searchsorted(self.terms, wanted)
        there = places < len(self.terms)
        there[there] = self.terms[places[there]] == wanted[there]
        return np.where(there, places, -1)

    def _find(self, term: bytes) -> int:
        place = bisect.bisect_left(range(self.size), term, key=self._term)
        return place if place < self.size and self._term(place) == term else -1

    def _term(self, number: int) -> bytes:
        assert self.term_ends is not None
        return self.terms[self.term_ends[number] : self.term_ends[number + 1]].tobytes()

    def term(self, number: int) -> str | int:
        """The term of this number: a word, or a token id."""
        return int(self.terms[number]) if self.term_ends is None else self._term(number).decode()

    def posting(self, number: int) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Passages u32[df], ascending, and their values."""
        start, stop = self.posting_ends[number], self.posting_ends[number + 1]
        return self.posting_docids[start:stop], self.posting_values[start:stop]

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[Any]]:
        """The forward store's rows of these passages: sizes i64[r], then all their term numbers and values in order."""
        starts = self.row_ends[rows]
        sizes = self.row_ends[rows + 1] - starts
        places = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        return sizes, self.row_terms[places], self.row_values[places]


def _invert(
    row_ends: NDArray[np.int64], row_terms: NDArray[np.uint32], row_values: NDArray[Any], terms: int
) -> dict[str, NDArray[Any]]:
    """Forward and inverted arrays from rows whose term numbers ascend."""
    docids = np.repeat(np.arange(len(row_ends) - 1, dtype=np.uint32), np.diff(row_ends))
    order = np.argsort(row_terms, kind="stable")  # stable keeps passages ascending within a term
    return {
        "posting_ends": _ends(np.bincount(row_terms, minlength=terms).astype(np.int64)),
        "posting_docids": docids[order],
        "posting_values": row_values[order],
        "row_ends": row_ends,
        "row_terms": row_terms,
        "row_values": row_values,
    }


def _stored(weights: NDArray[np.float32]) -> NDArray[Any]:
    """Weights as they are stored: rounded to f16 (11 bits), but for those outside its normal range, which stay f32.

    The rounding is decided weight by weight, so that scores do not depend on how documents fall into segments.
    """
    half = (weights <= _HALF_LARGEST) & (weights >= _HALF_SMALLEST_NORMAL)
    if half.all():
        return weights.astype(np.float16)
    return np.where(half, np.where(half, weights, 0).astype(np.float16).astype(np.float32), weights)


def _ends(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
