"""Too little memory: batches shrink, the budget is remembered, other errors reach the caller.

The allocator is torch's own: the first layer of the loaded model asks it for more than there is when a batch is too large.
"""

import itertools

import numpy as np
import pytest
import torch

from m3search import Encoder
from m3search.encoder.runner import is_out_of_memory
from m3search.errors import EncoderError

TEXTS = [f"{'the dog ' * (row % 9)}fox {row}" for row in range(60)]


@pytest.fixture(params=["packed", "padded"])
def encoder(request, tiny_folder) -> Encoder:
    return Encoder.load(tiny_folder, device="cpu", padded=request.param == "padded")


def before_first_layer(encoder, function):
    backbone = encoder._runner._model._backbone
    if backbone.padded:
        backbone._model.encoder.layer[0].register_forward_pre_hook(lambda module, args: function(args[0]))
        return
    first = backbone._layers[0]

    def layer(states, lengths):
        function(states)
        return first(states, lengths)

    backbone._layers[0] = layer


def hungry(encoder, allowed):
    """Makes the first layer need 2**60 bytes where a batch has more tokens than allowed; returns the sizes seen."""
    seen = []

    def take(states):
        tokens = states.numel() // states.shape[-1]
        seen.append(tokens)
        if tokens > allowed:
            torch.empty(2**60, dtype=torch.uint8)

    before_first_layer(encoder, take)
    return seen


def test_a_batch_that_does_not_fit_comes_in_parts(encoder, tiny):
    seen = hungry(encoder, allowed=100)
    out, expected = encoder.encode(TEXTS, colbert=True, batch_tokens=1000), tiny.encode(TEXTS, colbert=True)
    np.testing.assert_allclose(out.dense, expected.dense, rtol=0, atol=2e-6)
    np.testing.assert_allclose(out.lexical.toarray(), expected.lexical.toarray(), rtol=0, atol=2e-6)
    for left, right in zip(out.colbert, expected.colbert, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=2e-6)
    failed = [tokens for tokens in seen if tokens > 100]
    # each try is half as large as the one that failed, and what is left is cut at once
    assert 3 <= len(failed) <= 4
    assert all(later <= before // 2 for before, later in itertools.pairwise(failed))
    assert seen[: len(failed)] == failed


def test_the_budget_is_remembered(encoder):
    seen = hungry(encoder, allowed=100)
    encoder.encode(TEXTS, batch_tokens=1000)
    limit = encoder._runner.limit
    assert 50 <= limit <= 100
    del seen[:]
    encoder.encode(TEXTS, batch_tokens=1000)
    assert seen
    assert max(seen) <= limit


def test_a_stream_goes_on(encoder, tiny):
    hungry(encoder, allowed=100)
    (part,) = encoder.encode_iter(TEXTS, colbert_codec="int8", batch_tokens=1000)
    np.testing.assert_allclose(part.dense, tiny.encode(TEXTS).dense, rtol=0, atol=2e-6)


def test_one_text_that_does_not_fit_is_an_error(encoder):
    hungry(encoder, allowed=10)
    with pytest.raises(
        EncoderError, match=r"does not suffice for one text of \d+ tokens on cpu.*lower max_tokens"
    ) as caught:
        encoder.encode(TEXTS)
    assert is_out_of_memory(caught.value.__cause__)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), ValueError("no"), MemoryError("python's")]
)
def test_other_errors_are_not_hidden(encoder, error):
    calls = []

    def fail(states):
        calls.append(1)
        raise error

    before_first_layer(encoder, fail)
    with pytest.raises(type(error), match=str(error)):
        encoder.encode(TEXTS, batch_tokens=1000)
    assert len(calls) == 1
    assert encoder._runner.limit is None


def test_how_torch_says_it():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
