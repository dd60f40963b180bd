"""MaxSim by its formula, in any company, and beyond float32."""

from __future__ import annotations

import numpy as np
import pytest

from m3search.retrieval.colbert import max_sim


def vectors(rows, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 8, 128, 1024])
@pytest.mark.parametrize("tokens", [1, 2, 33])
@pytest.mark.parametrize("asked", [1, 5, 32])
def test_it_is_the_mean_of_the_best_product_of_every_query_token(dim, tokens, asked):
    query, document = vectors(asked, dim, 1), vectors(tokens, dim, 2)
    best = [max(float(q.astype(float) @ d.astype(float)) for d in document) for q in query]
    score = max_sim(query, document)
    assert score == pytest.approx(np.mean(best), rel=1e-5, abs=1e-5)
    for offset in range(4):  # where the vectors lie in memory changes no bit
        moved = np.empty(tokens * dim + 8, np.float32)[offset : offset + tokens * dim].reshape(tokens, dim)
        moved[:] = document
        assert max_sim(query, moved) == score


def test_a_passage_without_tokens_scores_nothing():
    assert max_sim(vectors(3, 4), vectors(0, 4)) == 0


def test_products_beyond_float32_are_numbers():
    query = np.array([[1e30, -1e30]], np.float32)
    document = np.array([[1e30, 1e30], [2e30, 1e30]], np.float32)
    assert max_sim(query, document) == pytest.approx(1e60)
