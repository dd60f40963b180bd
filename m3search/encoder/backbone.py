"""Backbone: the transformer that turns token ids into token states, without padding.

Owns the forward pass of BERT and XLM-R over texts that lie one after the other: every linear layer, norm and activation
sees real tokens only, all of a batch in one call; attention looks at each text by itself. Imports its neighbours and
torch. Invariant: every parameter comes from the checkpoint's files, and the states are those of transformers' own modules
(m3search/encoder/padded.py, the oracle) to 1e-5 in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import layer_norm

from m3search.encoder.attention import attend
from m3search.encoder.backbone_weights import BackboneWeights
from m3search.encoder.device import INT8, find_device, find_dtype
from m3search.encoder.linear import ACTIVATIONS, Linear, has_int8, linear
from m3search.errors import CheckpointError, EncoderError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from m3search.encoder.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm: weight and bias [hidden], added to the variance eps."""

    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The norm of [t, hidden]."""
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: attention and two linear layers, each with what came in added and normalised (post-norm)."""

    qkv: Linear
    out: Linear
    first_norm: Norm
    up: Linear
    down: Linear
    second_norm: Norm
    heads: int
    activation: str

    def __call__(self, x: torch.Tensor, lengths: NDArray[np.int64]) -> torch.Tensor:
        """States [t, hidden] of texts of these lengths to the next layer's."""
        x = self.first_norm(self.out(attend(self.qkv(x), lengths, self.heads)).add_(x))
        return self.second_norm(self.down(self.up(x, self.activation)).add_(x))


class Backbone:
    """A BERT or XLM-R encoder without its pooler.

    Attributes:
        device: where it runs.
        hidden: width of a token state.
        padded: whether padding counts towards a batch.
    """

    padded = False

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto") -> None:
        """Loads the weights of a checkpoint.

        Args:
            checkpoint: the model's files.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            dtype: as for `find_dtype`.

        Raises:
            EncoderError: no such device or type.
            CheckpointError: the weights are damaged or not all there, or the architecture has parts that are not known.
        """
        config = checkpoint.config
        self.device = find_device(device)
        self._dtype = find_dtype(dtype, self.device)
        int8 = dtype == INT8
        if int8 and not has_int8():
            raise EncoderError('this torch multiplies no bytes here, so dtype "int8" cannot be had: use "fast"')
        self.hidden = int(config["hidden_size"])
        activation, heads = _architecture(checkpoint)
        weights = BackboneWeights(checkpoint)

        def tensor(name: str) -> torch.Tensor:
            # a copy even where nothing changes: the files' mapping goes when all are loaded
            return weights[name].to(device=self.device, dtype=self._dtype, copy=True)

        def norm(name: str) -> Norm:
            return Norm(tensor(f"{name}.weight"), tensor(f"{name}.bias"), float(config.get("layer_norm_eps", 1e-12)))

        def layers_of(*names: str) -> Linear:
            weight, bias = (torch.cat([tensor(f"{name}.{part}") for name in names]) for part in ("weight", "bias"))
            return linear(weight, bias, int8=int8)

        words = "embeddings.word_embeddings.weight"
        # on the CPU the table stays in its file: a batch looks at few of its rows, and M3's takes 1 GB
        self._words = weights.alone(words) if self.device.type == "cpu" else tensor(words)
        # there is one kind of text, so its vector is a part of every position's
        self._positions = (
            tensor("embeddings.position_embeddings.weight") + tensor("embeddings.token_type_embeddings.weight")[0]
        )
        self._norm = norm("embeddings.LayerNorm")
        self._layers = []
        for number in range(int(config["num_hidden_layers"])):
            name = f"encoder.layer.{number}"
            self._layers.append(
                Layer(
                    qkv=layers_of(*(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))),
                    out=layers_of(f"{name}.attention.output.dense"),
                    first_norm=norm(f"{name}.attention.output.LayerNorm"),
                    up=layers_of(f"{name}.intermediate.dense"),
                    down=layers_of(f"{name}.output.dense"),
                    second_norm=norm(f"{name}.output.LayerNorm"),
                    heads=heads,
                    activation=activation,
                )
            )
        # XLM-R counts positions past padding ids, those written out in a text included
        self._counted_from = pad_id(checkpoint) if config["model_type"] == "xlm-roberta" else None

    def states(self, rows: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """Token states of one batch.

        Args:
            rows: b arrays of token ids, none of them empty; texts of equal length cost least as neighbours.

        Returns:
            [t, hidden], the tokens of all texts one after the other, in the model's own type.
        """
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = torch.from_numpy(np.concatenate(rows).astype(np.int64))
        positions = torch.from_numpy(np.concatenate([self._places(row) for row in rows]))
        if self.device.type == "cuda":
            ids, positions = ids.pin_memory(), positions.pin_memory()
        ids, positions = (part.to(self.device, non_blocking=True) for part in (ids, positions))
        x = self._words.index_select(0, ids).to(self._dtype)
        x = self._norm(x.add_(self._positions.index_select(0, positions)))
        for layer in self._layers:
            x = layer(x, lengths)
        return x

    def _places(self, row: NDArray[np.int32]) -> NDArray[np.int64]:
        """The position of every token of a text."""
        if self._counted_from is None:
            return np.arange(len(row))
        real = row != self._counted_from
        return np.asarray(np.cumsum(real) * real + self._counted_from, np.int64)


def pad_id(checkpoint: Checkpoint) -> int:
    """The padding id of a checkpoint's backbone."""
    value = checkpoint.config.get("pad_token_id")
    if value is None:
        value = 1 if checkpoint.config["model_type"] == "xlm-roberta" else 0
    return int(value)


def _architecture(checkpoint: Checkpoint) -> tuple[str, int]:
    """Activation and number of heads, once it is seen that nothing else differs from BERT."""
    config: Mapping[str, Any] = checkpoint.config
    where = checkpoint.folder / "config.json"
    activation, heads = str(config.get("hidden_act", "gelu")), int(config["num_attention_heads"])
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"{where} has the activation {activation!r}: m3search runs {', '.join(ACTIVATIONS)}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise CheckpointError(
            f"{where} has {config['position_embedding_type']!r} positions: m3search runs absolute ones"
        )
    if int(config["hidden_size"]) % heads:
        raise CheckpointError(f"{where} has {heads} heads for a width of {config['hidden_size']}: it is damaged")
    return activation, heads
