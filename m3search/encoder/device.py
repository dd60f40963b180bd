"""Where a model runs, and in which numbers.

Imports errors; torch when asked. Invariant: a device that is named exists.
"""

from __future__ import annotations

from pathlib import Path
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


INT8 = "int8"
FAST = "fast"
_BF16_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"))


def has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bf16 itself; elsewhere it is slower than fp32."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # x86 calls them flags, ARM features
    found = [line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return bool(found) and not _BF16_FLAGS.isdisjoint(found[0])


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type that a model computes in.

    Args:
        name: a key of `DTYPES`; "auto": fp16 on CUDA, else fp32; "fast": fp16 on CUDA, bf16 where the processor has it,
            else fp32; "int8": fp32 between linear layers that multiply bytes.
        device: where it runs.

    Raises:
        EncoderError: there is no such type, or not on this device.
    """
    import torch

    if name == INT8 and device.type != "cpu":
        raise EncoderError(f'dtype "int8" is for the CPU, and the device is {device}: use "fp16" or "bf16" there')
    if name in {"auto", FAST} and device.type == "cuda":
        return torch.float16
    if name == FAST and device.type == "cpu" and has_bf16():
        return torch.bfloat16
    if name in {"auto", FAST, INT8}:
        return torch.float32
    if name not in DTYPES:
        raise EncoderError(f'dtype is {name!r}: use "auto", "fast", "fp32", "fp16", "bf16" or "int8"')
    dtype: torch.dtype = getattr(torch, DTYPES[name])
    return dtype
