"""GeneratedVectors: M3-like lexical weights of as many documents as are asked for.

Invariant: the same seed gives the same documents whatever the size, so a smaller collection is the beginning of a larger one.

A document's terms are drawn half from one Zipf distribution over the whole vocabulary and half from that of its topic, a few
thousand terms of any overall rank; repeated draws count once. Which number a term has says nothing about how frequent it is.
Function words, the most frequent terms overall, weigh less. A query draws a third of its terms from the function words and the
others from one topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Query, save_queries
from lexical.growing_array import GrowingArray

VERSION = 1
"""Grows whenever the same seed would give other vectors."""

VOCABULARY = 250_002  # XLM-R's
FUNCTION_WORDS = 200
SMALLEST, LARGEST = np.float16(0.01), np.nextafter(np.float16(0.35), np.float16(0))
QUERIES, TUNING = 1000, 200
BLOCK = 10_000

_TOPICS = 200
_TOPIC_TERMS = 4000
_GLOBAL_EXPONENT, _TOPIC_EXPONENT = 1.05, 0.9
_DRAWS = 82  # a document's mean; repetitions leave about 70
_DRAWS_SHAPE = 16  # of a gamma distribution: a standard deviation of a quarter of the mean
_FEWEST_DRAWS = 8
_WEIGHT_SHAPE, _WEIGHT_SCALE = 2.0, 0.06
_FUNCTION_WORD_SHARE = 0.3
_QUERY_TERMS = (6, 12)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows one after the other: sizes i64[rows], terms u32[postings], weights f16[postings]."""

    sizes: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float16]


class GeneratedVectors:
    """The world that documents and queries are drawn from, by its seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        # from here on a term is its rank by frequency; `_term` gives its number
        self._term = rng.permutation(VOCABULARY).astype(np.uint32)
        self._cumulated = _zipf(VOCABULARY, _GLOBAL_EXPONENT)
        self._topic_cumulated = _zipf(_TOPIC_TERMS, _TOPIC_EXPONENT)
        content = FUNCTION_WORDS + rng.permutation(VOCABULARY - FUNCTION_WORDS)
        starts = rng.integers(0, len(content) - _TOPIC_TERMS, _TOPICS)
        self._topic_terms = np.stack([content[start : start + _TOPIC_TERMS] for start in starts])

    @property
    def function_words(self) -> NDArray[np.uint32]:
        """Their numbers u32[200]."""
        return self._term[:FUNCTION_WORDS]

    def blocks(self, documents: int) -> Iterator[Block]:
        """The first `documents`, `BLOCK` at a time."""
        for number, start in enumerate(range(0, documents, BLOCK)):
            yield _cut(self._block(number), min(BLOCK, documents - start))

    def _block(self, number: int) -> Block:
        rng = np.random.default_rng([self._seed, 1, number])
        draws = np.maximum(_FEWEST_DRAWS, rng.gamma(_DRAWS_SHAPE, _DRAWS / _DRAWS_SHAPE, BLOCK).astype(np.int64))
        owners = np.repeat(np.arange(BLOCK), draws)
        topics = np.repeat(rng.integers(0, _TOPICS, BLOCK), draws)
        topical = rng.random(len(owners)) < 0.5
        uniform = rng.random(len(owners))
        ranks = np.empty(len(owners), np.int64)
        ranks[~topical] = np.searchsorted(self._cumulated, uniform[~topical])
        places = np.searchsorted(self._topic_cumulated, uniform[topical])
        ranks[topical] = self._topic_terms[topics[topical], places]
        keys = np.sort(owners * VOCABULARY + self._term[ranks])  # by document, then by term
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
        owners, terms = np.divmod(keys, VOCABULARY)
        weights = rng.gamma(_WEIGHT_SHAPE, _WEIGHT_SCALE, len(terms))
        return Block(np.bincount(owners, minlength=BLOCK), terms.astype(np.uint32), self._lowered(terms, weights))

    def _lowered(self, terms: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float16]:
        """Weights in their range, those of function words a part of what they were."""
        frequent = np.zeros(VOCABULARY, bool)
        frequent[self.function_words] = True
        lowered = np.where(frequent[terms], _FUNCTION_WORD_SHARE * weights, weights).astype(np.float16)
        return np.clip(lowered, SMALLEST, LARGEST)

    def queries(self, count: int, stream: int) -> list[Query]:
        """`count` queries; another `stream` gives others."""
        rng = np.random.default_rng([self._seed, 2, stream])
        function, content = (
            np.diff(cumulated, prepend=0.0) for cumulated in (self._cumulated[:FUNCTION_WORDS], self._topic_cumulated)
        )
        function /= function.sum()
        made = []
        for _ in range(count):
            size = int(rng.integers(_QUERY_TERMS[0], _QUERY_TERMS[1] + 1))
            frequent = rng.choice(FUNCTION_WORDS, round(size / 3), replace=False, p=function)
            topic = self._topic_terms[rng.integers(0, _TOPICS)]
            others = topic[rng.choice(_TOPIC_TERMS, size - len(frequent), replace=False, p=content)]
            terms = np.sort(self._term[np.concatenate([frequent, others])])
            weights = self._lowered(terms, rng.gamma(_WEIGHT_SHAPE, _WEIGHT_SCALE, len(terms)))
            made.append(Query(terms, weights.astype(np.float32)))
        return made


def write(folder: Path, documents: int, seed: int = 0) -> dict[str, Any]:
    """Generates a collection into a folder, block by block; gives what it is."""
    world = GeneratedVectors(seed)
    sizes = [np.zeros(1, np.int64)]
    with GrowingArray(folder / "terms.npy", "<u4") as terms, GrowingArray(folder / "weights.npy", "<f2") as weights:
        for block in world.blocks(documents):
            sizes.append(block.sizes)
            terms.append(block.terms)
            weights.append(block.weights)
    np.save(folder / "ends.npy", np.cumsum(np.concatenate(sizes)))
    save_queries(folder, world.queries(QUERIES, 0), world.queries(TUNING, 1))
    return {
        "kind": "generated",
        "title": f"{documents:,} generated documents",
        "documents": documents,
        "vocabulary": VOCABULARY,
        "weighted queries": True,
        "seed": seed,
    }


def _zipf(count: int, exponent: float) -> NDArray[np.float64]:
    cumulated = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -exponent)
    cumulated /= cumulated[-1]
    return cumulated


def _cut(block: Block, rows: int) -> Block:
    postings = int(block.sizes[:rows].sum())
    return Block(block.sizes[:rows], block.terms[:postings], block.weights[:postings])
