"""GeneratedVectors: unit vectors in clusters, as many as are asked for, made to be as hard to search as a real encoder's.

Invariant: the same seed gives the same vectors whatever the number, so a smaller collection is the beginning of a larger one.

A vector is a mean that all share, a topic, a subtopic and its own part, added up and cut to length 1. Directions weigh by a
power law, in a basis that is turned at random, so that no coordinate means anything. The shares were set beside vectors of the
embedded encoder (scifact, cacm, cranfield and cisi, 1,300 to 9,300 each). Of those 24 to 35% of the variance lie in the first 8
directions, 49 to 61% in the first 32, 65 to 77% in the first 64, and HNSW (M=16, 8 bits) finds 93 to 95% of the best ten with
efSearch=10; of 9,300 generated ones it is 24%, 49%, 64% and 92%.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Grows whenever the same seed would give other vectors."""

DIM = 384
BLOCK = 10_000
QUERIES = 1000

_TOPICS, _SUBTOPICS = 200, 100
_MEAN = 0.35
_SHARES = (0.3, 0.3, 0.4)  # of the variance: topic, subtopic, own
_OFFSET, _EXPONENT = 4, 1.0  # of the power law
_SPREAD = (0.6, 1.3)  # how far from its subtopic a vector lies, as a factor


class GeneratedVectors:
    """The world that passages and queries are drawn from, by its seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        law = (np.arange(DIM) + _OFFSET) ** -_EXPONENT
        self._law = np.sqrt(law / law.sum()).astype(np.float32)
        self._basis = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0].astype(np.float32)
        topic, subtopic, self._own = np.sqrt(np.array(_SHARES, np.float32) * np.float32(1 - _MEAN**2))
        topics = topic * self._law * rng.normal(size=(_TOPICS, 1, DIM)).astype(np.float32)
        subtopics = subtopic * self._law * rng.normal(size=(_TOPICS, _SUBTOPICS, DIM)).astype(np.float32)
        self._centers = (topics + subtopics).reshape(-1, DIM)
        self._centers[:, -1] += np.float32(_MEAN)
        sizes = rng.gamma(1.0, size=len(self._centers))  # few subtopics are large
        self._cumulated = np.cumsum(sizes / sizes.sum())

    def blocks(self, count: int) -> Iterator[NDArray[np.float32]]:
        """The first `count` vectors f32[BLOCK, 384] at a time, the last ones fewer."""
        for number, start in enumerate(range(0, count, BLOCK)):
            yield self._drawn(BLOCK, [self._seed, 1, number])[: count - start]

    def queries(self, count: int = QUERIES) -> NDArray[np.float32]:
        """f32[count, 384], drawn like passages."""
        return self._drawn(count, [self._seed, 2])

    def _drawn(self, count: int, seed: list[int]) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        owners = np.searchsorted(self._cumulated, rng.random(count)).clip(max=len(self._centers) - 1)
        spread = rng.uniform(*_SPREAD, (count, 1)).astype(np.float32)
        made = self._own * self._law * spread * rng.standard_normal((count, DIM), np.float32)
        made += self._centers[owners]
        made = made @ self._basis
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return np.ascontiguousarray(made, np.float32)


def write(path: Path, count: int, seed: int = 0) -> None:
    """All vectors of a collection into a .npy file, block by block."""
    target = np.lib.format.open_memmap(path, "w+", np.float32, (count, DIM))
    start = 0
    for block in GeneratedVectors(seed).blocks(count):
        target[start : start + len(block)] = block
        start += len(block)
    target.flush()
