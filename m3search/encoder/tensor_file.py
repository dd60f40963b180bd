"""TensorFile: the named tensors of a safetensors file, or of a state dict that torch wrote.

Imports nothing of the house; torch and safetensors when a file is read. Invariant: no code in a file is ever run.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class UnreadableError(Exception):
    """A file holds no plain tensors; the text is the reason, one line."""


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor on the CPU, mapped where the file can be: it takes memory only where it is looked at.

    Raises:
        UnreadableError: the file is missing, damaged, or would run code.
    """
    from safetensors import SafetensorError

    try:
        return _safetensors(path) if path.suffix == ".safetensors" else _state_dict(path)
    except (SafetensorError, pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnreadableError(reason) from error


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        # files older than torch 1.6 cannot be mapped
        value = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(value, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in value.values()):
        raise ValueError("it is no state dict of tensors")
    return value
