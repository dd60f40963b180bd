"""BackboneWeights: the named tensors of a checkpoint's backbone.

Owns finding them in the files and seeing that they are all there. Imports errors and its neighbour that reads
them. Invariant: no code in a file is ever run, and what is read stays mapped: a tensor takes memory only where it
is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from m3search.encoder.tensor_file import UnreadableError, read_tensors
from m3search.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from m3search.encoder.checkpoint import Checkpoint

_PREFIX = re.compile(r"^(?:bert|roberta|model)\.")
"""What a model with a task of its own puts before the names of its backbone."""

_EMBEDDINGS = ("word", "position", "token_type")
_VOCABULARY = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}


class BackboneWeights:
    """The tensors by transformers' names ("encoder.layer.0.output.dense.weight"), on the CPU, in the files' own type."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Opens the files.

        Raises:
            CheckpointError: a file is damaged or would run code, a tensor is missing or of another shape.
        """
        where, self._kind = checkpoint.weights[0], str(checkpoint.config["model_type"])
        self._tensors: dict[str, torch.Tensor] = {}
        self._paths: dict[str, Path] = {}
        for path in checkpoint.weights:
            for name, tensor in _read(path, self._kind).items():
                self._tensors[_plain_name(name)] = tensor
                self._paths[_plain_name(name)] = path
        shapes = _shapes(checkpoint)
        absent = [name for name in shapes if name not in self._tensors]
        if absent:
            raise CheckpointError(
                f"{where} lacks {len(absent)} of the backbone's parameters, the first is {absent[0]}: they would be "
                "random. Download the model again"
            )
        for name, shape in shapes.items():
            found = tuple(self._tensors[name].shape)
            if found != shape:
                raise CheckpointError(
                    f"{where} cannot be loaded: {name} is {list(found)}, config.json asks for {list(shape)}. Download the "
                    "model again"
                )
        # heads of another task, a pooler, buffers that older versions wrote
        self._tensors = {name: self._tensors[name] for name in shapes}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def alone(self, name: str) -> torch.Tensor:
        """A tensor in a mapping of its own: one that is kept must not keep all that was read of its file resident."""
        tensors = _read(self._paths[name], self._kind)
        return next(tensor for found, tensor in tensors.items() if _plain_name(found) == name)


def _shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Every parameter that a BERT or XLM-R backbone without its pooler has."""
    config = checkpoint.config
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    shapes: dict[str, tuple[int, ...]] = {}
    for kind in _EMBEDDINGS:
        shapes[f"embeddings.{kind}_embeddings.weight"] = (int(config[_VOCABULARY[kind]]), hidden)
    linear = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
    }
    norms = ["embeddings.LayerNorm"]
    for number in range(int(config["num_hidden_layers"])):
        layer = f"encoder.layer.{number}"
        for name, shape in linear.items():
            shapes[f"{layer}.{name}.weight"] = shape
            shapes[f"{layer}.{name}.bias"] = shape[:1]
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for norm in norms:
        shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (hidden,)
    return shapes


def _plain_name(name: str) -> str:
    name = _PREFIX.sub("", name)
    # the names of the first BERT checkpoints
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _read(path: Path, kind: str) -> dict[str, torch.Tensor]:
    try:
        return read_tensors(path)
    except UnreadableError as error:
        raise CheckpointError(
            f"{path} cannot be loaded as a {kind} backbone ({error}): download the model again"
        ) from error
