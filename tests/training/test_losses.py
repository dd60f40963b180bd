"""Losses against their formulas, written out."""

import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax, softmax

from m3search.errors import InputError
from m3search.training.losses import Losses, losses_of

Q, GROUP = 3, 2


@pytest.fixture
def batch():
    """Outputs and inputs of three queries with two passages each, every text two tokens long."""
    generator = torch.Generator().manual_seed(2)

    def outputs(texts):
        dense = torch.nn.functional.normalize(torch.randn(texts, 5, generator=generator), dim=-1)
        vectors = torch.nn.functional.normalize(torch.randn(texts * 2, 4, generator=generator), dim=-1)
        weights = torch.rand(texts * 2, generator=generator)
        return {"dense": dense, "weights": weights, "vectors": vectors}

    def side(texts):
        ids = torch.randint(5, 9, (texts, 2), generator=generator)
        every = torch.ones(texts, 2, dtype=torch.bool)
        return {"ids": ids, "mask": every, "kept": every, "words": every}

    inputs = {"queries": side(Q), "passages": side(Q * GROUP), "teacher": None, "in_batch": True}
    inputs["same"] = torch.zeros(Q, Q * GROUP, dtype=torch.bool)
    return inputs, outputs(Q), outputs(Q * GROUP)


def plain_scores(inputs, queries, passages):
    dense = queries["dense"] @ passages["dense"].T

    def rows(side, weights):
        grid = torch.zeros(len(side["ids"]), 10)
        return grid.scatter_reduce(1, side["ids"], weights.view(-1, 2), "amax")

    lexical = rows(inputs["queries"], queries["weights"]) @ rows(inputs["passages"], passages["weights"]).T
    left, right = queries["vectors"].view(Q, 2, -1), passages["vectors"].view(Q * GROUP, 2, -1)
    multi = torch.einsum("qid,pjd->qpij", left, right).amax(-1).mean(-1)
    return [scores / 0.02 for scores in (dense, lexical, multi)]


def test_the_unified_loss_is_the_papers(batch):
    dense, lexical, multi = plain_scores(*batch)
    target = torch.arange(Q) * GROUP
    ensemble = dense + 0.3 * lexical + multi
    terms = [cross_entropy(scores, target) for scores in (dense, ensemble, lexical, multi)]
    plain = (terms[0] + terms[1] + 0.1 * terms[2] + terms[3]) / 4
    found = Losses(distil=False)(*batch)
    assert float(found.total) == pytest.approx(float(plain), rel=1e-5)
    assert found.parts["lexical"] == pytest.approx(float(terms[2]), rel=1e-5)
    teacher = softmax(ensemble, dim=-1)
    pulls = [-(teacher * log_softmax(scores, dim=-1)).sum(-1).mean() for scores in (dense, lexical, multi)]
    distilled = (plain + (pulls[0] + 0.1 * pulls[1] + pulls[2]) / 3) / 2
    assert float(Losses()(*batch).total) == pytest.approx(float(distilled), rel=1e-5)
    assert float(Losses(distil_from=5)(*batch, step=4).total) == pytest.approx(float(plain), rel=1e-5)


def test_each_term_alone(batch):
    dense, lexical, multi = plain_scores(*batch)
    off = {"dense": 0, "lexical": 0, "colbert": 0, "ensemble": 0, "distil": False}
    for name, scores in (("dense", dense), ("lexical", lexical), ("colbert", multi)):
        losses = Losses(**off | {name: 1})
        assert losses.outputs == {name}
        found = losses(*batch)
        assert float(found.total) == pytest.approx(float(cross_entropy(scores, torch.arange(Q) * GROUP)), rel=1e-5)
        assert set(found.parts) == {name}


def test_a_teacher_in_both_forms(batch):
    inputs = batch[0]
    dense = plain_scores(*batch)[0]
    inputs["teacher"] = torch.tensor([[2.0, 0.5], [1.0, 0.0], [0.0, 3.0]])
    shares = softmax(inputs["teacher"], dim=-1)
    only = {"lexical": 0, "colbert": 0, "ensemble": 0, "distil": False}
    own = torch.stack([dense[row, row * GROUP : (row + 1) * GROUP] for row in range(Q)])
    kl = -(shares * log_softmax(own, dim=-1)).sum(-1).mean() + cross_entropy(dense, torch.arange(Q) * GROUP)
    assert float(Losses(**only)(*batch).total) == pytest.approx(float(kl), rel=1e-5)
    total = 0.0
    for row in range(Q):
        scores = dense[row].clone()
        for place in range(GROUP):
            total += float(-shares[row, place] * log_softmax(scores, dim=-1)[row * GROUP + place]) / Q
            scores[row * GROUP + place] = -1e9
    assert float(Losses(**only, teacher="m3")(*batch).total) == pytest.approx(total, rel=1e-5)


def test_a_passage_that_answers_is_no_negative(batch):
    inputs, _, passages = batch
    passages["dense"][4] = batch[1]["dense"][0]
    only = {"lexical": 0, "colbert": 0, "ensemble": 0, "distil": False}
    before = float(Losses(**only)(*batch).total)
    inputs["same"][0, 4] = True
    dense = plain_scores(*batch)[0]
    dense[0, 4] = -torch.inf
    after = float(Losses(**only)(*batch).total)
    assert after == pytest.approx(float(cross_entropy(dense, torch.arange(Q) * GROUP)), rel=1e-5)
    assert after < before


def test_without_the_batch_only_the_own_passages_count(batch):
    inputs, _, _ = batch
    inputs["in_batch"] = False
    dense = plain_scores(*batch)[0]
    own = torch.stack([dense[row, row * GROUP : (row + 1) * GROUP] for row in range(Q)])
    only = {"lexical": 0, "colbert": 0, "ensemble": 0, "distil": False}
    assert float(Losses(**only)(*batch).total) == pytest.approx(
        float(cross_entropy(own, torch.zeros(Q).long())), rel=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dense": -1}, "'dense' weighs -1"),
        ({"dense": 0, "lexical": 0, "colbert": 0, "ensemble": 0}, "nothing to learn"),
        ({"temperature": 0}, "above 0"),
        ({"teacher": "kd"}, "no teacher's loss 'kd': kl or m3"),
    ],
)
def test_losses_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        Losses(**settings)


def test_losses_as_a_user_writes_them():
    off = {"dense": 0, "lexical": 0, "colbert": 0, "ensemble": 0}
    assert losses_of(None) == Losses()
    assert losses_of(None, heads_only=("lexical", "colbert")) == Losses()
    assert losses_of(None, heads_only=("lexical",)) == Losses(**off | {"lexical": 1}, distil=False)
    assert losses_of("dense=1,lexical=0.1") == Losses(**off | {"dense": 1, "lexical": 0.1})
    assert losses_of("dense=1", distil=True).outputs == {"dense"}
    for text in ("sparse=1", "dense=a", "dense"):
        with pytest.raises(InputError, match="is no weight of a loss: write dense=1,lexical=1,colbert=1,ensemble=1"):
            losses_of(text)
