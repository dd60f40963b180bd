"""Where a model runs, and in which numbers.

Imports errors; torch when asked. Invariant: a device that is named exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from m3search.errors import EncoderError

if TYPE_CHECKING:
    import torch

DTYPES = {
    "fp32": "float32",
    "float32": "float32",
    "fp16": "float16",
    "float16": "float16",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
}


def find_device(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        EncoderError: there is no such device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(
            f"there is no device {name!r} on this machine ({str(error).splitlines()[0]}): "
            'use device="auto", "cpu", "cuda" or "mps"'
        ) from error
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type of a name, a key of `DTYPES`; "auto" is fp16 on CUDA, else fp32.

    Raises:
        EncoderError: there is no such type.
    """
    import torch

    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise EncoderError(f'dtype is {name!r}: use "auto", "fp32", "fp16" or "bf16"')
    dtype: torch.dtype = getattr(torch, DTYPES[name])
    return dtype
