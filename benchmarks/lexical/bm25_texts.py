"""BM25Texts: short texts as a collection whose weights are BM25's, so that a score is a sum of products as for learned weights.

A document is one title or one sentence, each text once. One title in `_HELD_OUT` (the first sentence, where a document has no
title) is left out of the collection, and the queries are drawn from these.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Query, save_queries
from lexical.generated import QUERIES, TUNING
from lexical.texts import Text
from m3search.analysis.analyzer import Analyzer

VERSION = 1
"""Grows whenever the same texts would give another collection."""

K1, B = 1.2, 0.75
FEWEST_TERMS = 2

_HELD_OUT = 25


class _Rows:
    """Term frequencies of the documents so far; a term's number is the order of its first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.sizes, self.terms, self.frequencies = array("q"), array("I"), array("I")

    def append(self, counts: Mapping[str, int]) -> None:
        numbers = self.numbers
        for term in counts:
            if term not in numbers:
                numbers[term] = len(numbers)
        row = sorted((numbers[term], count) for term, count in counts.items())
        self.sizes.append(len(row))
        self.terms.extend(number for number, _ in row)
        self.frequencies.extend(count for _, count in row)


def write(folder: Path, sources: Mapping[str, Iterable[Text]], limit: int) -> dict[str, Any]:
    """Reads sources in their order until there are `limit` documents; writes the collection, gives what it is.

    Raises:
        ValueError: there are no texts to hold queries out of.
    """
    analyzer = Analyzer()
    rows = _Rows()
    held: list[Mapping[str, int]] = []
    seen: set[bytes] = set()
    taken: dict[str, int] = {}
    for name, texts in sources.items():
        before = len(rows.sizes)
        for piece, first in _pieces(texts):
            if len(rows.sizes) >= limit:
                break
            key = hashlib.blake2b(piece.encode(), digest_size=8).digest()
            if key in seen:
                continue
            seen.add(key)
            counts = analyzer.counts(piece)
            if len(counts) < FEWEST_TERMS:
                continue
            if first and key[0] % _HELD_OUT == 0:
                held.append(counts)
            else:
                rows.append(counts)
        taken[name] = len(rows.sizes) - before
    queries = _queries(held, rows.numbers)
    if not queries:
        raise ValueError(
            f"there are {len(rows.sizes):,} short texts and no query among them: name a folder of BEIR folders with "
            "--collections, or fetch package descriptions with apt-get update -o Acquire::Languages=en,de,fr,it"
        )
    ends, terms, weights = _bm25(rows)
    for name, values in (("ends", ends), ("terms", terms), ("weights", weights)):
        np.save(folder / f"{name}.npy", values)
    save_queries(folder, queries[:QUERIES], queries[QUERIES : QUERIES + TUNING] or queries[-TUNING:])
    return {
        "kind": "texts",
        "title": f"{len(ends) - 1:,} real short texts",
        "documents": len(ends) - 1,
        "vocabulary": len(rows.numbers),
        "weighted queries": False,
        "sources": {name: count for name, count in taken.items() if count},
        "bm25": {"k1": K1, "b": B},
    }


def _pieces(texts: Iterable[Text]) -> Iterator[tuple[str, bool]]:
    """Titles and sentences, and whether each is the first of its text."""
    for text in texts:
        pieces = [piece for piece in (text.title, *text.sentences) if piece]
        for place, piece in enumerate(pieces):
            yield piece, place == 0


def _queries(held: Sequence[Mapping[str, int]], numbers: Mapping[str, int]) -> list[Query]:
    """The held-out texts as queries of known terms, each term once, in an order that has nothing to do with their sources'."""
    made = []
    for number in np.random.default_rng(0).permutation(len(held)):
        known = sorted(numbers[term] for term in held[number] if term in numbers)
        if len(known) >= FEWEST_TERMS:
            made.append(Query(np.array(known, np.uint32), np.ones(len(known), np.float32)))
    return made


def _bm25(rows: _Rows) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float16]]:
    """Ends, terms and the weights of Lucene's BM25: idf = ln(1 + (n - df + .5) / (df + .5)), without the constant k1 + 1."""
    sizes = np.frombuffer(rows.sizes, np.int64)
    terms = np.frombuffer(rows.terms, np.uint32)
    frequencies = np.frombuffer(rows.frequencies, np.uint32).astype(np.float64)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    lengths = np.bincount(owners, frequencies, len(sizes))
    found = np.bincount(terms, minlength=len(rows.numbers))
    idf = np.log1p((len(sizes) - found + 0.5) / (found + 0.5))
    saturation = K1 * (1 - B + B * lengths / lengths.mean())
    weights = idf[terms] * frequencies / (frequencies + saturation[owners])
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), terms, weights.astype(np.float16)
