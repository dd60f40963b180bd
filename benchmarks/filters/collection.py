"""Collection: generated documents with vectors, term weights, texts and metadata, and what is true of a filter.

Vectors and weights are those of the hybrid benchmark's generator. The field "n" is drawn evenly from 0 to 9,999 and has nothing
to do with what a document is about, so that "n < 1000" keeps 10% of any answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hybrid.collection import Query, rows
from hybrid.world import BLOCK, World
from lexical.generated import VOCABULARY
from numpy.typing import NDArray
from scipy import sparse

RANGE = 10_000
KEPT: Mapping[str, int | None] = {"all": None, "50%": 5000, "10%": 1000, "1%": 100, "0.01%": 1}
"""Name -> documents whose "n" is below this are kept; None: no filter."""

LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "pl", "zh")
_WORDS = 12


@dataclass(frozen=True)
class Collection:
    """Everything in memory.

    Attributes:
        vectors: f32[n, dim].
        weights: CSR f32[n, vocabulary].
        metadata: of each document.
        numbers: i64[n], the field "n".
        queries: to be asked.
    """

    vectors: NDArray[np.float32]
    weights: sparse.csr_array
    metadata: Sequence[Mapping[str, Any]]
    numbers: NDArray[np.int64]
    queries: Sequence[Query]

    def __len__(self) -> int:
        return len(self.numbers)

    def text(self, number: int) -> str:
        """A document's first words, each once."""
        own = self.weights.indices[self.weights.indptr[number] : self.weights.indptr[number + 1]]
        return " ".join(f"t{term}" for term in own[:_WORDS].tolist())

    def kept(self, name: str) -> NDArray[np.bool_]:
        """bool[n]: the documents that a filter keeps."""
        below = KEPT[name]
        return np.ones(len(self), bool) if below is None else self.numbers < below

    @cached_property
    def words(self) -> sparse.csr_array:
        """CSR f32[n, vocabulary] with 1 for each word of a text."""
        sizes = np.minimum(np.diff(self.weights.indptr), _WORDS)
        places = np.concatenate(
            [np.arange(size) + start for size, start in zip(sizes, self.weights.indptr, strict=False)]
        )
        ends = np.concatenate([[0], np.cumsum(sizes)])
        return sparse.csr_array(
            (np.ones(len(places), np.float32), self.weights.indices[places], ends), self.weights.shape
        )


def generated(documents: int, dim: int, queries: int, seed: int = 0) -> Collection:
    """A collection by its size and seed."""
    world = World(dim, seed)
    vectors = np.empty((documents, dim), np.float32)
    sizes, terms, weights = [], [], []
    for number, start in enumerate(range(0, documents, BLOCK)):
        block, own, tokens, values = world.documents(number)
        count = min(BLOCK, documents - start)
        vectors[start : start + count] = block[:count]
        postings = int(own[:count].sum())
        sizes.append(own[:count])
        terms.append(tokens[:postings])
        weights.append(values[:postings].astype(np.float16))
    ends = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    matrix = rows(ends, np.concatenate(terms), np.concatenate(weights), VOCABULARY, 0, documents)
    numbers = np.random.default_rng([seed, 21]).integers(0, RANGE, documents)
    metadata = list(_metadata(numbers, np.random.default_rng([seed, 22])))
    return Collection(vectors, matrix, metadata, numbers, world.asked(queries, 0))


def _metadata(numbers: NDArray[np.int64], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    count = len(numbers)
    languages = np.minimum(rng.geometric(0.35, count) - 1, len(LANGUAGES) - 1).tolist()
    years, days = rng.integers(1990, 2026, count).tolist(), rng.integers(0, 12_000, count)
    dates = (np.datetime64("1993-01-01") + days).astype(str).tolist()
    sizes, drafts = rng.integers(0, 4, count).tolist(), (rng.random(count) < 0.05).tolist()
    tags = rng.zipf(1.5, (count, 3)).clip(max=200).tolist()
    for place, number in enumerate(numbers.tolist()):
        yield {
            "n": number,
            "lang": LANGUAGES[languages[place]],
            "year": years[place],
            "day": dates[place],
            "draft": drafts[place],
            "tags": [f"tag{tag}" for tag in tags[place][: sizes[place]]],
            "key": f"{place:08x}-{number:04x}",
        }
