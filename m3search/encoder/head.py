"""The two linear heads of an M3 checkpoint: `sparse_linear` and `colbert_linear`.

Owns reading and hashing them. Imports errors; torch and safetensors when a head is read. Invariant: no code in a file
is ever run, and a head that is missing is an error, never random numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3search.encoder.tensor_file import UnreadableError, read_tensors
from m3search.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

SPARSE, COLBERT = "sparse_linear", "colbert_linear"
SUFFIXES = (".safetensors", ".pt")
"""Endings of a head's file; the first that is there is read."""


@dataclass(frozen=True, slots=True)
class Head:
    """One linear layer, on the CPU.

    Attributes:
        weight: f32[out, hidden].
        bias: f32[out].
    """

    weight: torch.Tensor
    bias: torch.Tensor

    @property
    def sha256(self) -> str:
        """The hash (hex) of the values as fp32, so that a converted file counts as the same head."""
        digest = hashlib.sha256()
        for tensor in (self.weight, self.bias):
            digest.update(repr(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().astype("<f4").tobytes())
        return digest.hexdigest()


def find_head(folder: Path, name: str) -> Path:
    """The file of a head.

    Args:
        folder: the checkpoint.
        name: "sparse_linear" or "colbert_linear".

    Raises:
        CheckpointError: there is none; the message names the files that were looked for.
    """
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    raise CheckpointError(
        f"{folder} has no head {name!r}: neither {name}.safetensors nor {name}.pt is there. Without it the encoder "
        "would make random weights, so it is not loaded. Take a checkpoint with M3 heads (BAAI/bge-m3, or one "
        "fine-tuned with unified_finetuning), or copy the head's file into the folder"
    )


def read_head(path: Path, *, hidden: int, rows: int | None = None) -> Head:
    """A head's weights.

    Args:
        path: a ``.safetensors`` file, or a ``.pt`` state dict.
        hidden: width of the backbone's token states.
        rows: outputs that the head must have; None accepts any number.

    Raises:
        CheckpointError: the file is damaged, would run code, or does not fit the backbone.
    """
    tensors = _read(path)
    if set(tensors) != {"weight", "bias"}:
        raise CheckpointError(
            f"{path} holds {', '.join(sorted(tensors)) or 'nothing'}: a head holds exactly weight and bias"
        )
    head = Head(tensors["weight"].float().clone(), tensors["bias"].float().clone())  # not kept mapped
    out = head.bias.shape[0] if head.bias.ndim == 1 else -1
    if out < 1 or tuple(head.weight.shape) != (out, hidden) or (rows is not None and out != rows):
        raise CheckpointError(
            f"{path} has weight {list(head.weight.shape)} and bias {list(head.bias.shape)}: this backbone needs "
            f"weight [{rows or 'dim'}, {hidden}] and bias [{rows or 'dim'}]; the file belongs to another checkpoint"
        )
    if not bool(head.weight.isfinite().all() and head.bias.isfinite().all()):
        raise CheckpointError(f"{path} holds values that are not finite: the file is damaged, fetch it again")
    return head


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return read_tensors(path)
    except UnreadableError as error:
        if path.suffix == ".safetensors":
            raise CheckpointError(f"{path} is no readable safetensors file ({error}): fetch it again") from error
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds more than plain tensors, which could run code on this "
            f"machine ({error}). Fetch it again from a source you trust, or give {path.stem}.safetensors"
        ) from error
