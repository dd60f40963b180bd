"""Multi-vector scores of all queries and passages of a batch.

Imports torch. Invariant: no padding takes part in a maximum, and what is there at once is bounded: the products of all
query tokens with the tokens of a few passages.

The score is the mean over the query's tokens of the best product with a passage token (BGE-M3 paper, section 3.2; the
original implementation lets padding floor each maximum at 0, this one does not).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

PRODUCTS = 16 * 2**20
"""Products that are there at once (64 MiB)."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Token vectors of n texts, one text after the other.

    Attributes:
        vectors: f[t, dim], L2-normalised.
        counts: i64[n], vectors of each text, on the CPU; none is 0.
    """

    vectors: torch.Tensor
    counts: torch.Tensor


def multi_vector_scores(queries: TokenVectors, passages: TokenVectors) -> torch.Tensor:
    """The mean over a query's tokens of the best product with a passage's, for all pairs.

    Args:
        queries: q texts.
        passages: p texts.

    Returns:
        f32[q, p]; gradients flow to both sides, of equal products to the first.
    """
    scores: torch.Tensor = _MeanMax.apply(  # type: ignore[no-untyped-call]
        queries.vectors.float(), passages.vectors.float(), queries.counts, passages.counts
    )
    return scores


class _MeanMax(torch.autograd.Function):
    """Keeps which token was the best, i32[query tokens, passages], and nothing larger."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        queries: torch.Tensor,
        passages: torch.Tensor,
        query_counts: torch.Tensor,
        passage_counts: torch.Tensor,
    ) -> torch.Tensor:
        """Vectors of both sides to f32[q, p]."""
        owners, shares = _owners(query_counts, queries.device)
        bests = queries.new_empty(len(queries), len(passage_counts))
        places = torch.empty(bests.shape, dtype=torch.int32, device=queries.device)
        for group in _groups(passage_counts, len(queries)):
            products = (queries @ passages[group.tokens].T).view(len(queries), group.size, group.longest)
            products.masked_fill_(group.padding(queries.device), -torch.inf)
            best, place = products.max(dim=2)
            bests[:, group.first : group.first + group.size] = best
            places[:, group.first : group.first + group.size] = place
        ctx.save_for_backward(queries, passages, query_counts, passage_counts, places)
        scores = queries.new_zeros(len(query_counts), len(passage_counts))
        return scores.index_add_(0, owners, bests.mul_(shares[:, None]))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        """Gradients of both sides' vectors."""
        queries, passages, query_counts, passage_counts, places = ctx.saved_tensors
        owners, shares = _owners(query_counts, queries.device)
        of_bests = grad[owners] * shares[:, None]
        of_queries, of_passages = torch.zeros_like(queries), torch.zeros_like(passages)
        for group in _groups(passage_counts, len(queries)):
            some = slice(group.first, group.first + group.size)
            picked = queries.new_zeros(len(queries), group.size, group.longest)
            picked.scatter_(2, places[:, some, None].long(), of_bests[:, some, None])
            flat = picked.view(len(queries), -1)
            of_queries.addmm_(flat, passages[group.tokens])
            # padding repeats a token, and its gradient is 0
            of_passages.index_add_(0, group.tokens.to(queries.device), flat.T @ queries)
        return of_queries, of_passages, None, None


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring passages, filled up to the longest."""

    first: int
    counts: torch.Tensor
    tokens: torch.Tensor

    @property
    def size(self) -> int:
        return len(self.counts)

    @property
    def longest(self) -> int:
        return int(self.counts.max())

    def padding(self, device: torch.device) -> torch.Tensor:
        return (torch.arange(self.longest)[None, :] >= self.counts[:, None]).to(device)


def _groups(counts: torch.Tensor, query_tokens: int) -> list[_Group]:
    """Passages a group at a time, so that a group's products stay within the bound, or it has one passage."""
    lengths = counts.tolist()
    starts = (counts.cumsum(0) - counts).tolist()
    groups: list[_Group] = []
    first = 0
    while first < len(lengths):
        last, longest = first + 1, lengths[first]
        while last < len(lengths):
            longer = max(longest, lengths[last])
            if longer * (last + 1 - first) * query_tokens > PRODUCTS:
                break
            last, longest = last + 1, longer
        places = torch.arange(longest).clamp(max=counts[first:last, None] - 1)
        tokens = places + torch.tensor(starts[first:last])[:, None]
        groups.append(_Group(first, counts[first:last], tokens.view(-1)))
        first = last
    return groups


def _owners(counts: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The text of every token, and what one token is of its text's mean."""
    owners = torch.arange(len(counts)).repeat_interleave(counts)
    return owners.to(device), (1.0 / counts)[owners].to(device)
