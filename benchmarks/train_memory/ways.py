"""Ways: from token weights to the scores of all pairs, with gradients.

``[B, L, V]`` is FlagEmbedding's training path, ``[B, V]`` scatters into a row of the vocabulary for each text, the last is
m3search's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from m3search.training.lexical_scores import LexicalTokens, lexical_scores

OURS = "distinct query tokens"


@dataclass(frozen=True, slots=True)
class Texts:
    """ids i64[n, length] and what the head gives them, f32[n, length], none equal; about a third is below 0."""

    ids: torch.Tensor
    weights: torch.Tensor


def texts(count: int, length: int, vocabulary: int, seed: int) -> Texts:
    """Random texts with Zipf's frequencies of ids."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, length, generator=generator, dtype=torch.float64)
    ids = (vocabulary**share - 1).long().clamp_(max=vocabulary - 1)
    weights = torch.randn(count, length, generator=generator) + 0.4
    return Texts(ids, weights.requires_grad_())


def three_dimensions(queries: Texts, passages: Texts, vocabulary: int) -> torch.Tensor:
    """A row of the vocabulary for every token, then the maximum over tokens."""
    return _tall(queries, vocabulary) @ _tall(passages, vocabulary).T


def _tall(side: Texts, vocabulary: int) -> torch.Tensor:
    grid = torch.zeros(*side.ids.shape, vocabulary)
    grid = torch.scatter(grid, dim=-1, index=side.ids.unsqueeze(-1), src=torch.relu(side.weights).unsqueeze(-1))
    return torch.max(grid, dim=1).values


def two_dimensions(queries: Texts, passages: Texts, vocabulary: int) -> torch.Tensor:
    """A row of the vocabulary for every text, in which the largest weight of a token stays."""
    return _wide(queries, vocabulary) @ _wide(passages, vocabulary).T


def _wide(side: Texts, vocabulary: int) -> torch.Tensor:
    grid = torch.zeros(len(side.ids), vocabulary)
    return grid.scatter_reduce(1, side.ids, torch.relu(side.weights), "amax")


def distinct_tokens(queries: Texts, passages: Texts, vocabulary: int) -> torch.Tensor:  # noqa: ARG001 - as the others
    """Passages looked up in the queries' tokens, then small matrices."""
    return lexical_scores(_flat(queries), _flat(passages))


def _flat(side: Texts) -> LexicalTokens:
    count, length = side.ids.shape
    rows = torch.arange(count).repeat_interleave(length)
    return LexicalTokens(rows, side.ids.view(-1), torch.relu(side.weights).view(-1), count)


WAYS: dict[str, Callable[[Texts, Texts, int], torch.Tensor]] = {
    "[B, L, V]": three_dimensions,
    "[B, V]": two_dimensions,
    OURS: distinct_tokens,
}


def bytes_of(way: str, passages: int, length: int, vocabulary: int) -> int | None:
    """Of the large tensor and its gradient alone; None: there is no large one."""
    if way == OURS:
        return None
    return 2 * 4 * passages * vocabulary * (length if way == "[B, L, V]" else 1)
