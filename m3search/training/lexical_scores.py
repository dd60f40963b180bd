"""Lexical scores of all queries and passages of a batch, without a matrix as wide as the vocabulary.

Imports torch. Invariant: scores and gradients are those of a row of the vocabulary for every token, of which the first
maximum is taken ([batch, length, vocabulary], BGE-M3 paper, section 3.2), and memory grows with the tokens alone.

A token that no query has adds nothing to any score, so passages are looked up in the queries' distinct tokens first. Of
what is left the largest weight of every (text, token) is gathered once, and small matrices are multiplied, some
hundred tokens at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

COLUMNS = 2048
"""Distinct tokens whose matrices are there at once."""


@dataclass(frozen=True, slots=True)
class LexicalTokens:
    """Token weights of n texts, one token after the other.

    Attributes:
        rows: i64[t], the text of every token, ascending.
        ids: i64[t], the tokens, repeats included.
        weights: f[t], after the relu; tokens that carry no word weigh 0.
        texts: n.
    """

    rows: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    texts: int


def lexical_scores(queries: LexicalTokens, passages: LexicalTokens) -> torch.Tensor:
    """The sum over shared tokens of weight times weight, for all pairs.

    Args:
        queries: q texts.
        passages: p texts.

    Returns:
        f32[q, p]; gradients flow to both sides' weights, of equal ones to the first.
    """
    with torch.no_grad():
        taken = _winners(queries.rows, queries.ids, queries.weights)
        words, columns = torch.unique(queries.ids[taken], return_inverse=True)
        if len(words):
            places = torch.searchsorted(words, passages.ids).clamp_(max=len(words) - 1)
            shared = (words[places] == passages.ids).nonzero().squeeze(-1)
            found = shared[_winners(passages.rows[shared], passages.ids[shared], passages.weights[shared])]
            places = places[found]
        else:
            found = places = taken.new_empty(0)
        by_column = torch.argsort(columns, stable=True)
        taken, columns = taken[by_column], columns[by_column]
        by_place = torch.argsort(places, stable=True)
        found, places = found[by_place], places[by_place]
    scores: torch.Tensor = _Products.apply(  # type: ignore[no-untyped-call]
        queries.weights.index_select(0, taken).float(),
        passages.weights.index_select(0, found).float(),
        (queries.rows[taken], columns, queries.texts),
        (passages.rows[found], places, passages.texts),
        len(words),
    )
    return scores


def _winners(rows: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Places of the first largest weight above 0 of every (row, id)."""
    kept = (weights > 0).nonzero().squeeze(-1)
    if not len(kept):
        return kept
    kept = kept[torch.argsort(weights[kept], descending=True, stable=True)]
    keys = rows[kept] * (ids.max() + 1) + ids[kept]
    order = torch.argsort(keys, stable=True)
    keys = keys[order]
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return kept[order[first]]


_Side = tuple[torch.Tensor, torch.Tensor, int]
"""(text of every entry, column of every entry ascending, number of texts)."""


class _Products(torch.autograd.Function):
    """A B^T of two matrices given by their entries, in slices of columns; backward makes the slices again."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        left: torch.Tensor,
        right: torch.Tensor,
        left_side: _Side,
        right_side: _Side,
        columns: int,
    ) -> torch.Tensor:
        """Values of both sides to f32[q, p]."""
        ctx.save_for_backward(left, right, *left_side[:2], *right_side[:2])
        ctx.shape = (left_side[2], right_side[2], columns)
        scores = left.new_zeros(left_side[2], right_side[2])
        for start, stop in _slices(columns):
            part, other = _slice(left, left_side, start, stop), _slice(right, right_side, start, stop)
            scores.addmm_(part.matrix, other.matrix.T)
        return scores

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        """Gradients of both sides' values."""
        left, right, left_rows, left_columns, right_rows, right_columns = ctx.saved_tensors
        queries, passages, columns = ctx.shape
        of_left, of_right = torch.empty_like(left), torch.empty_like(right)
        for start, stop in _slices(columns):
            part = _slice(left, (left_rows, left_columns, queries), start, stop)
            other = _slice(right, (right_rows, right_columns, passages), start, stop)
            of_left[part.entries] = (grad @ other.matrix)[part.rows, part.columns]
            of_right[other.entries] = (grad.T @ part.matrix)[other.rows, other.columns]
        return of_left, of_right, None, None, None


@dataclass(frozen=True, slots=True)
class _Part:
    matrix: torch.Tensor
    entries: slice
    rows: torch.Tensor
    columns: torch.Tensor


def _slices(columns: int) -> list[tuple[int, int]]:
    return [(start, min(start + COLUMNS, columns)) for start in range(0, columns, COLUMNS)]


def _slice(values: torch.Tensor, side: _Side, start: int, stop: int) -> _Part:
    """The columns from start to stop as a matrix."""
    rows, columns, texts = side
    bounds = torch.searchsorted(columns, columns.new_tensor([start, stop])).tolist()
    entries = slice(*bounds)
    rows, columns = rows[entries], columns[entries] - start
    matrix = values.new_zeros(texts, stop - start)
    matrix[rows, columns] = values[entries]
    return _Part(matrix, entries, rows, columns)
