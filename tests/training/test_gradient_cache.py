"""A batch in pieces against the whole batch, and the model against the encoder."""

import numpy as np
import pytest
import torch

from m3search import Encoder
from m3search.training.batches import Batches, pieces
from m3search.training.examples import read_sets
from m3search.training.fit import Training
from m3search.training.gradient_cache import cached_loss, whole_loss
from m3search.training.loop import collator
from m3search.training.losses import Losses
from m3search.training.model import TrainedModel, lexical_tokens


@pytest.fixture
def inputs(examples, checkpoint):
    batches = Batches(read_sets([examples]), size=8, group=3, teacher=False, seed=4)
    return collator(checkpoint, Training())([batches[0]])


@pytest.fixture
def model(checkpoint):
    return TrainedModel(checkpoint)


def gradients(model, loss):
    model.zero_grad()
    loss.total.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same(ours, theirs):
    """To 1e-5 of the largest gradient: an attention's key biases have none but rounding."""
    largest = max(float(value.abs().max()) for value in theirs.values())
    assert largest > 1e-2
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("term", ["dense", "lexical", "colbert", "all"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradients_equal_the_whole_batch(model, inputs, term, size):
    model.eval()  # without dropout: it would drop other states of a piece
    one = dict.fromkeys(("dense", "lexical", "colbert", "ensemble"), 0.0) | {term: 1.0, "distil": False}
    losses = Losses() if term == "all" else Losses(**one)
    model.outputs = losses.outputs
    whole = whole_loss(model, inputs, losses)
    theirs = gradients(model, whole)
    cached = cached_loss(model, inputs, losses, size=size)
    ours = gradients(model, cached)
    assert float(cached.total.detach()) == pytest.approx(float(whole.total.detach()), rel=1e-5)
    assert_same(ours, theirs)


def test_dropout_drops_the_same_again(checkpoint, inputs):
    model = TrainedModel(checkpoint).train()
    model.backbone.config.hidden_dropout_prob = 0.3
    assert any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    found = []
    for _ in range(2):
        torch.manual_seed(11)
        found.append(gradients(model, cached_loss(model, inputs, Losses(), size=2)))
    torch.manual_seed(12)
    other = gradients(model, cached_loss(model, inputs, Losses(), size=2))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=0)
    assert any(not torch.equal(other[name], value) for name, value in found[0].items())
    # a whole batch in one piece: the same dropout as without the cache
    torch.manual_seed(11)
    whole = gradients(model, whole_loss(model, inputs, Losses()))
    torch.manual_seed(11)
    cached = gradients(model, cached_loss(model, inputs, Losses(), size=100))
    assert_same(cached, whole)


def test_the_loss_may_be_scaled(model, inputs):
    model.eval()
    plain = gradients(model, cached_loss(model, inputs, Losses(), size=3))
    model.zero_grad()
    (cached_loss(model, inputs, Losses(), size=3).total / 4).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad * 4, plain[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_outputs_are_those_of_the_encoder(checkpoint, checkpointing):
    texts = ["open a zip archive", "archive archive of the library", "a"]
    encoder = Encoder.load(checkpoint.folder, device="cpu")
    model = TrainedModel(checkpoint).eval()
    if checkpointing:
        model.checkpoint_activations()
    collate = collator(checkpoint, Training())
    from m3search.training.batches import side

    tokens = collate._passages.tokenize(texts)
    one = side(tokens, collate._passages)
    with torch.no_grad():
        found = model(**one)
    encodings = encoder.encode(texts, colbert=True)
    np.testing.assert_allclose(found["dense"].numpy(), encodings.dense, atol=1e-5)
    np.testing.assert_allclose(found["vectors"].numpy(), np.concatenate(encodings.colbert), atol=1e-5)
    lexical = lexical_tokens(one, found)
    dense = np.zeros(encodings.lexical.shape, np.float32)
    np.maximum.at(dense, (lexical.rows.numpy(), lexical.ids.numpy()), lexical.weights.numpy())
    np.testing.assert_allclose(dense, encodings.lexical.toarray(), atol=1e-5)


def test_pieces_are_as_long_as_their_longest(inputs):
    parts = pieces(inputs["passages"], 5)
    assert [len(part["ids"]) for part in parts] == [5, 5, 5, 5, 4]
    assert all(part["mask"].any(dim=0).all() for part in parts)
    assert sum(int(part["mask"].sum()) for part in parts) == int(inputs["passages"]["mask"].sum())
