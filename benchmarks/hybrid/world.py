"""World: generated documents whose vectors and whose term weights are about the same topics, so that a blend means something.

Invariant: the same seed and width give the same documents whatever the size, so a smaller collection is the beginning of a
larger one; the term weights do not depend on the width.

A document has a topic and a subtopic. Its terms are drawn from the whole vocabulary, from its topic's terms (both as in the
lexical benchmark's generator) and from a short stretch of these that belongs to the subtopic; what is topical weighs more. A
query draws its vector and its terms as a document of its subtopic would, few terms, and a third of them function words. The
numbers below were set so that of the ten best of the blend at 100,000 documents dense alone finds eight, lexical alone two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lexical.generated import FUNCTION_WORDS, VOCABULARY, GeneratedVectors
from lexical.growing_array import GrowingArray
from numpy.typing import NDArray

from hybrid.collection import Query, save_queries
from hybrid.topic_vectors import TopicVectors

VERSION = 1
"""Grows whenever the same seed would give other documents."""

BLOCK = 10_000
QUERIES, TUNING = 500, 200

_SUBTOPICS = 20
_STRETCH = 60  # terms of a subtopic
_SOURCES = (0.4, 0.7)  # shares, added up: of the whole vocabulary, and with the topic's
_DRAWS, _DRAWS_SHAPE, _FEWEST_DRAWS = 88, 16, 8
_WEIGHT_SHAPE, _WEIGHT_SCALE = 2.0, 0.05
_TOPICAL = 2.6  # factor of a weight
_QUERY_TERMS = (6, 12)
_QUERY_FACTOR = 3.0  # queries are short, and what they name weighs more


class World(GeneratedVectors):
    """What documents and queries are drawn from."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__(seed)
        rng = np.random.default_rng([seed, 4])
        topics, terms = self._topic_terms.shape
        self._stretches = rng.integers(0, terms - _STRETCH, (topics, _SUBTOPICS))
        sizes = rng.gamma(1.0, size=topics * _SUBTOPICS)  # few subtopics are large
        self._sizes = np.cumsum(sizes / sizes.sum())
        self._vectors = TopicVectors(seed, dim, topics, _SUBTOPICS)

    def documents(self, number: int) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """A block of documents: vectors f32[BLOCK, dim], sizes i64[BLOCK], terms u32[postings], weights f16[postings]."""
        rng = np.random.default_rng([self._seed, 5, number])
        topics, subtopics = self._places(rng.random(BLOCK))
        draws = np.maximum(_FEWEST_DRAWS, rng.gamma(_DRAWS_SHAPE, _DRAWS / _DRAWS_SHAPE, BLOCK).astype(np.int64))
        sizes, terms, weights = self._rows(topics, subtopics, draws, rng)
        vectors = self._vectors.drawn(topics, subtopics, np.random.default_rng([self._seed, 6, number]))
        return vectors, sizes, terms, weights

    def asked(self, count: int, stream: int) -> list[Query]:
        """`count` queries; another `stream` gives others."""
        rng = np.random.default_rng([self._seed, 7, stream])
        topics, subtopics = self._places(rng.random(count))
        vectors = self._vectors.drawn(topics, subtopics, np.random.default_rng([self._seed, 8, stream]))
        shares = np.diff(self._cumulated[:FUNCTION_WORDS], prepend=0.0)
        made = []
        for vector, topic, subtopic in zip(vectors, topics, subtopics, strict=True):
            size = int(rng.integers(_QUERY_TERMS[0], _QUERY_TERMS[1] + 1))
            frequent = rng.choice(FUNCTION_WORDS, size // 3, replace=False, p=shares / shares.sum())
            others = size - len(frequent)
            places = np.searchsorted(self._topic_cumulated, rng.random(others))
            stretch = self._stretches[topic, subtopic] + (_STRETCH * rng.random(others) ** 2).astype(np.int64)
            topical = self._topic_terms[topic, np.where(rng.random(others) < 0.5, places, stretch)]
            terms = np.unique(self._term[np.concatenate([frequent, topical])])
            weights = rng.gamma(_WEIGHT_SHAPE, _WEIGHT_SCALE * _QUERY_FACTOR, len(terms))
            made.append(Query(vector, terms, self._lowered(terms, weights).astype(np.float32)))
        return made

    def _places(self, uniform: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = np.searchsorted(self._sizes, uniform).clip(max=len(self._sizes) - 1)
        topics, subtopics = np.divmod(found, _SUBTOPICS)
        return topics, subtopics

    def _rows(
        self,
        topics: NDArray[np.int64],
        subtopics: NDArray[np.int64],
        draws: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        owners = np.repeat(np.arange(len(topics)), draws)
        source, uniform = rng.random(len(owners)), rng.random(len(owners))
        of_all = source < _SOURCES[0]
        of_topic = (source >= _SOURCES[0]) & (source < _SOURCES[1])
        of_subtopic = source >= _SOURCES[1]
        ranks = np.empty(len(owners), np.int64)
        ranks[of_all] = np.searchsorted(self._cumulated, uniform[of_all]).clip(max=VOCABULARY - 1)
        places = np.searchsorted(self._topic_cumulated, uniform[of_topic])
        ranks[of_topic] = self._topic_terms[topics[owners[of_topic]], places]
        own = owners[of_subtopic]
        # the square draws the beginning of the stretch more often
        places = self._stretches[topics[own], subtopics[own]] + (_STRETCH * uniform[of_subtopic] ** 2).astype(np.int64)
        ranks[of_subtopic] = self._topic_terms[topics[own], places]
        keys, first = np.unique(owners * VOCABULARY + self._term[ranks], return_index=True)  # by document, then by term
        owners, terms = np.divmod(keys, VOCABULARY)
        factors = np.where(of_all[first], 1.0, _TOPICAL)
        weights = factors * rng.gamma(_WEIGHT_SHAPE, _WEIGHT_SCALE, len(terms))
        sizes = np.bincount(owners, minlength=len(topics))
        return sizes, terms.astype(np.uint32), self._lowered(terms, weights)


def write(folder: Path, documents: int, dim: int, seed: int = 0) -> dict[str, Any]:
    """Generates a collection into a folder, block by block; gives what it is."""
    world = World(dim, seed)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (documents, dim))
    ends = [np.zeros(1, np.int64)]
    with GrowingArray(folder / "terms.npy", "<u4") as terms, GrowingArray(folder / "weights.npy", "<f2") as weights:
        for number, start in enumerate(range(0, documents, BLOCK)):
            block, sizes, own, values = world.documents(number)
            rows = min(BLOCK, documents - start)
            vectors[start : start + rows] = block[:rows]
            ends.append(sizes[:rows])
            postings = int(sizes[:rows].sum())
            terms.append(own[:postings])
            weights.append(values[:postings])
    vectors.flush()
    np.save(folder / "ends.npy", np.cumsum(np.concatenate(ends)))
    save_queries(folder, world.asked(QUERIES, 0), world.asked(TUNING, 1))
    return {
        "kind": "generated",
        "title": f"{documents:,} generated documents, {dim} dimensions",
        "documents": documents,
        "dim": dim,
        "vocabulary": VOCABULARY,
        "seed": seed,
    }
