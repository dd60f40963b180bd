"""Scores of a batch against the plain tensors they replace: values and gradients."""

import pytest
import torch

from m3search.training import lexical_scores as lexical_module
from m3search.training import multi_vector_scores as vector_module
from m3search.training.lexical_scores import LexicalTokens, lexical_scores
from m3search.training.multi_vector_scores import TokenVectors, multi_vector_scores

VOCABULARY = 40


def padded_batch(texts, longest, seed, *, ties):
    """ids [n, longest], logits and lengths; with ties many logits are equal."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (texts, longest), generator=generator)
    logits = torch.randn(texts, longest, generator=generator, dtype=torch.float64)
    if ties:
        logits = torch.round(logits)
    lengths = torch.randint(1, longest + 1, (texts,), generator=generator)
    return ids, logits.float(), torch.arange(longest)[None, :] < lengths[:, None]


def dense_rows(ids, weights):
    """[B, L, V] and the maximum over tokens: FlagEmbedding's training path."""
    grid = torch.zeros(*ids.shape, VOCABULARY)
    grid = torch.scatter(grid, -1, ids.unsqueeze(-1), weights.unsqueeze(-1))
    return torch.max(grid, dim=1).values


def flat(ids, weights, real):
    rows = torch.arange(len(ids))[:, None].expand_as(ids)
    return LexicalTokens(rows[real], ids[real], weights[real], len(ids))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("columns", [2048, 7])
def test_lexical_equals_the_vocabulary_wide_tensor(ties, columns, monkeypatch):
    monkeypatch.setattr(lexical_module, "COLUMNS", columns)
    for seed in range(5):
        sides = [padded_batch(6, 9, seed, ties=ties), padded_batch(11, 30, seed + 100, ties=ties)]
        pull = torch.randn(6, 11, generator=torch.Generator().manual_seed(seed))
        found = []
        for plain in (True, False):
            logits = [side[1].clone().requires_grad_() for side in sides]
            # ids 0 and 3 carry no word
            weights = [
                torch.relu(leaf) * real * (ids != 0) * (ids != 3)
                for leaf, (ids, _, real) in zip(logits, sides, strict=True)
            ]
            if plain:
                scores = dense_rows(sides[0][0], weights[0]) @ dense_rows(sides[1][0], weights[1]).T
            else:
                scores = lexical_scores(
                    *(flat(ids, weight, real) for (ids, _, real), weight in zip(sides, weights, strict=True))
                )
            (scores * pull).sum().backward()
            found.append((scores.detach(), *(leaf.grad for leaf in logits)))
        assert found[0][0].abs().max() > 1
        for theirs, ours in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * max(1.0, float(theirs.abs().max())))


def test_the_first_of_equal_weights_learns():
    weights = torch.tensor([0.5, 0.5, 0.5], requires_grad=True)
    query = LexicalTokens(torch.tensor([0, 0, 0]), torch.tensor([7, 8, 7]), weights, 1)
    passage = LexicalTokens(torch.tensor([0]), torch.tensor([7]), torch.tensor([2.0]), 1)
    score = lexical_scores(query, passage)
    score.sum().backward()
    assert score.item() == 1.0
    assert weights.grad.tolist() == [2.0, 0.0, 0.0]


def test_nothing_shared_and_nothing_at_all():
    nothing = torch.zeros(2, requires_grad=True)
    query = LexicalTokens(torch.tensor([0, 1]), torch.tensor([7, 8]), nothing, 2)
    passage = LexicalTokens(torch.tensor([0, 2]), torch.tensor([7, 8]), torch.ones(2, requires_grad=True), 3)
    scores = lexical_scores(query, passage)
    assert scores.tolist() == [[0.0] * 3] * 2
    scores.sum().backward()
    assert nothing.grad.tolist() == [0.0, 0.0]


def vectors(texts, longest, seed, dim=8):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, longest + 1, (texts,), generator=generator)
    values = torch.randn(int(counts.sum()), dim, generator=generator)
    return torch.nn.functional.normalize(values, dim=-1), counts


def pairwise(queries, query_counts, passages, passage_counts):
    """One pair at a time."""
    return torch.stack(
        [
            torch.stack([(query @ p.T).amax(dim=1).mean() for p in passages.split(passage_counts.tolist())])
            for query in queries.split(query_counts.tolist())
        ]
    )


@pytest.mark.parametrize("products", [2**20, 1000, 1])
def test_multi_vector_equals_one_pair_at_a_time(products, monkeypatch):
    monkeypatch.setattr(vector_module, "PRODUCTS", products)
    (queries, query_counts), (passages, passage_counts) = vectors(5, 6, 1), vectors(9, 20, 2)
    pull = torch.randn(5, 9, generator=torch.Generator().manual_seed(3))
    found = []
    for plain in (True, False):
        q, p = queries.clone().requires_grad_(), passages.clone().requires_grad_()
        if plain:
            scores = pairwise(q, query_counts, p, passage_counts)
        else:
            scores = multi_vector_scores(TokenVectors(q, query_counts), TokenVectors(p, passage_counts))
        (scores * pull).sum().backward()
        found.append((scores.detach(), q.grad, p.grad))
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_padding_never_wins():
    query = TokenVectors(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    passages = TokenVectors(torch.tensor([[-1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]), torch.tensor([1, 2]))
    assert multi_vector_scores(query, passages).tolist() == [[-1.0, pytest.approx(0.6)]]
