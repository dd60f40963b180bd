"""Checkpoint: a model in the shape of BGE-M3 with random weights, and texts of any length in its words.

Owns what is written to the cache. Invariant: one shape and one seed give one checkpoint, and every word of a text is one
token, so a text has the length it was asked for.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's shape; the defaults are BGE-M3's."""

    layers: int = 24
    hidden: int = 1024
    heads: int = 16
    inner: int = 4096
    vocabulary: int = 250_002
    positions: int = 8194

    @property
    def name(self) -> str:
        """For folders and tables."""
        return f"{self.layers}x{self.hidden}"


def checkpoint(shape: Shape, cache: Path) -> Path:
    """The folder of a model of this shape, made if it is not there."""
    folder = cache / f"m3-{shape.name}-{shape.vocabulary}"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _tokenizer(shape, folder)
    _weights(shape, folder)
    (folder / "complete").touch()
    return folder


def words(shape: Shape) -> list[str]:
    """The words that are one token each."""
    count = shape.vocabulary - len(SPECIAL) - 1 - len(LETTERS) - 1
    return ["".join(letters) for letters, _ in zip(product(LETTERS, repeat=4), range(count), strict=False)]


def texts(shape: Shape, lengths: np.ndarray, seed: int) -> list[str]:
    """Texts of these lengths in tokens, the two special ones counted in; frequent words and rare ones, as in a language."""
    known, generator = words(shape), np.random.default_rng(seed)
    made = []
    for length in lengths:
        # Zipf's law: the rank is exponential in a uniform number
        ranks = (len(known) ** generator.random(max(0, int(length) - 2))).astype(np.int64) - 1
        made.append(" ".join(known[rank] for rank in ranks))
    return made


def mini_for_flagembedding(cache: Path) -> Path:
    """The embedded model's files with its heads as FlagEmbedding reads them."""
    from m3search.encoder.mini import find_mini

    found, folder = find_mini(), cache / "mini"
    if not (folder / "colbert_linear.pt").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(found.folder, folder)
        for path in (found.sparse, found.colbert):
            torch.save(load_file(path), folder / f"{path.stem}.pt")
    return folder


def _tokenizer(shape: Shape, folder: Path) -> None:
    score = math.log(1 / shape.vocabulary)
    vocabulary = [(token, 0.0) for token in SPECIAL]
    vocabulary += [(f"▁{word}", score) for word in words(shape)]
    vocabulary += [(letter, 2 * score) for letter in ("▁", *LETTERS)] + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (*SPECIAL, "<mask>")])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = ("bos", "cls", "eos", "sep", "pad", "unk", "mask")
    tokens = ("<s>", "<s>", "</s>", "</s>", "<pad>", "<unk>", "<mask>")
    settings = {f"{name}_token": token for name, token in zip(names, tokens, strict=True)}
    settings |= {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": shape.positions - 2}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _weights(shape: Shape, folder: Path) -> None:
    config = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "hidden_act": "gelu",
        "max_position_embeddings": shape.positions,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    generator = torch.Generator().manual_seed(20240205)
    tensors: dict[str, torch.Tensor] = {}

    def linear(name: str, out: int, into: int) -> None:
        # wide enough for attention to be far from even, as a trained model's is
        tensors[f"{name}.weight"] = torch.randn(out, into, generator=generator) * (1.5 / math.sqrt(into))
        tensors[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.02

    def norm(name: str) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.ones(shape.hidden), torch.zeros(shape.hidden)

    for kind, rows in (("word", shape.vocabulary), ("position", shape.positions), ("token_type", 1)):
        tensors[f"embeddings.{kind}_embeddings.weight"] = torch.randn(rows, shape.hidden, generator=generator) * 0.05
    norm("embeddings.LayerNorm")
    for number in range(shape.layers):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", shape.hidden, shape.hidden)
        linear(f"{layer}.attention.output.dense", shape.hidden, shape.hidden)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", shape.inner, shape.hidden)
        linear(f"{layer}.output.dense", shape.hidden, shape.inner)
        norm(f"{layer}.output.LayerNorm")
    # FlagEmbedding rounds to fp16 at loading, also where it then computes in fp32: values that fp16 has are the same to all
    tensors = {name: tensor.half().float() for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, rows in (("sparse_linear", 1), ("colbert_linear", shape.hidden)):
        state = {
            "weight": (torch.randn(rows, shape.hidden, generator=generator) * 0.03).half().float(),
            "bias": torch.zeros(rows),
        }
        torch.save(state, folder / f"{name}.pt")
