"""The parts of our own forward pass: linear layers, attention, weights under other names, architectures that differ."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bert_checkpoint import write_bert
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear as torch_linear
from torch.nn.functional import scaled_dot_product_attention

from m3search import Encoder
from m3search.encoder.attention import attend, attend_padded
from m3search.encoder.linear import ACTIVATIONS, Int8Linear, PackedLinear, PlainLinear, packs
from m3search.errors import CheckpointError

KINDS = [
    PlainLinear,
    pytest.param(PackedLinear, marks=pytest.mark.skipif(not packs(torch.float32), reason="no oneDNN")),
]


def reference(x, weight, bias, activation):
    y = torch_linear(x.double(), weight.double(), bias.double())
    functions = {
        None: lambda y: y,
        "gelu": torch.nn.functional.gelu,
        "gelu_new": lambda y: torch.nn.functional.gelu(y, approximate="tanh"),
        "gelu_pytorch_tanh": lambda y: torch.nn.functional.gelu(y, approximate="tanh"),
        "relu": torch.relu,
    }
    return functions[activation](y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("rows", [1, 7, 64, 700])
def test_linear(kind, activation, rows):
    torch.manual_seed(rows)
    x, weight, bias = torch.randn(rows, 48), torch.randn(80, 48) / 7, torch.randn(80)
    with torch.inference_mode():
        found = kind(weight, bias)(x, activation)
    torch.testing.assert_close(found.double(), reference(x, weight, bias, activation), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("way", [attend, attend_padded])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("lengths", [[1], [5], [9, 9, 9], [9, 3, 3, 1, 1, 1, 7], [600, 513, 513, 2], [1] * 40])
def test_attention_stays_within_a_text(way, dtype, tolerance, lengths):
    torch.manual_seed(len(lengths))
    heads, width = 4, 16
    qkv = torch.randn(sum(lengths), 3 * heads * width).to(dtype)
    with torch.inference_mode():
        found = way(qkv, np.array(lengths), heads)
    start = 0
    for length in lengths:
        own = qkv[start : start + length].double().view(length, 3, heads, width).permute(1, 2, 0, 3)
        expected = scaled_dot_product_attention(*own).transpose(0, 1).reshape(length, -1)
        torch.testing.assert_close(found[start : start + length].double(), expected, atol=tolerance, rtol=tolerance)
        start += length


@pytest.fixture
def folder(tmp_path, tiny_folder) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "checkpoint"))


def test_names_of_a_model_with_a_task_of_its_own(folder, tiny):
    """A prefix, a pooler, a head and old names of norms change nothing."""
    tensors = {
        f"roberta.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    tensors["roberta.pooler.dense.weight"] = torch.zeros(64, 64)
    tensors["roberta.embeddings.position_ids"] = torch.arange(66)
    tensors["lm_head.bias"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors")
    np.testing.assert_array_equal(
        Encoder.load(folder, device="cpu").encode(["the dog"]).dense, tiny.encode(["the dog"]).dense
    )


@pytest.mark.parametrize("mapped", [True, False])
def test_weights_in_shards_and_in_the_oldest_format(folder, tiny, mapped):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for shard, part in (("a.bin", names[:20]), ("b.bin", names[20:])):
        torch.save({name: tensors[name] for name in part}, folder / shard, _use_new_zipfile_serialization=mapped)
    index = {"weight_map": {name: "a.bin" if name in names[:20] else "b.bin" for name in names}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(
        Encoder.load(folder, device="cpu").encode(["the dog"]).dense, tiny.encode(["the dog"]).dense
    )


def test_a_tensor_of_another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.bias"] = torch.zeros(7)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"layer\.0\.output\.dense\.bias is \[7\], config\.json asks for \[64\]"):
        Encoder.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "swish"}, "the activation 'swish'"),
        ({"position_embedding_type": "relative_key"}, "'relative_key' positions"),
        ({"num_attention_heads": 5}, "5 heads for a width of 64"),
    ],
)
def test_architectures_that_are_not_run(folder, change, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=message):
        Encoder.load(folder)


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_other_activations(tmp_path, activation):
    folder = write_bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": activation}))
    ours, theirs = (Encoder.load(folder, device="cpu", padded=padded) for padded in (False, True))
    np.testing.assert_allclose(ours.encode(["the dog"]).dense, theirs.encode(["the dog"]).dense, atol=1e-5)


def test_int8_is_near_where_all_components_are_of_one_sign():
    """What leaves an activation is seldom below 0: the codes go from the smallest to the largest component."""
    torch.manual_seed(1)
    x, weight, bias = torch.randn(300, 64).relu_() + 5, torch.randn(40, 64), torch.randn(40)
    with torch.inference_mode():
        found = Int8Linear(weight, bias)(x)
    exact = reference(x, weight, bias, None)
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()
    # a token's result is its own; a token of zeros is no division by zero
    alone = Int8Linear(weight, bias)(torch.cat([x[7:8], torch.zeros(1, 64)]))
    assert torch.equal(alone[0], found[7])
    torch.testing.assert_close(alone[1], bias)
