"""Linear layers: y = activation(x W^T + b), by the fastest way that a device has.

Owns how weights lie in memory. Imports torch. Invariant: a layer keeps no second copy of its weights, and a way of
torch's that is not documented is taken only where it has been seen to give the documented one's results here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, tuple[str, str]] = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
"""Activations by the name that ``config.json`` has for them: oneDNN's name and how it is computed."""

_HINT = 512
"""Rows that the packed layout is chosen for; for others it costs the same (8 to 2048 rows were timed)."""

_SMALLEST_SCALE = 1e-30
_INT8_ROWS = 256


class Linear(Protocol):
    """A linear layer."""

    def __call__(self, x: torch.Tensor, activation: str | None = None) -> torch.Tensor:
        """Activation(x W^T + b): [t, in] -> [t, out], in the type of x."""
        ...


class PlainLinear:
    """Torch's own, on any device."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Takes weight [out, in] and bias [out], on their device and in their type."""
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor, activation: str | None = None) -> torch.Tensor:
        """Activation(x W^T + b)."""
        return _activated(functional.linear(x, self._weight, self._bias), activation)


class PackedLinear:
    """oneDNN's, with the weights laid out once as its kernels read them, and the activation in the same pass.

    On a Zen 4 core it multiplies 1.2 to 1.9 times as fast as torch's own in fp32 (benchmarks/encode.py), which lays
    the weights out anew in every call.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Takes weight [out, in] and bias [out], fp32 or bf16, on the CPU."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _HINT)  # noqa: SLF001 - see `packs`
        self._bias = bias

    def __call__(self, x: torch.Tensor, activation: str | None = None) -> torch.Tensor:
        """Activation(x W^T + b)."""
        name, algorithm = ACTIVATIONS[activation] if activation else ("none", "")
        run: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - see `packs`
        return run(x, self._weight, self._bias, name, [], algorithm)


class Int8Linear:
    """Products of bytes: weights with a scale for each output, x with a scale and a zero for each token, found when it comes.

    A token's scale is its own, so a result does not depend on the other tokens of a batch.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Takes weight [out, in] and bias [out], fp32, on the CPU."""
        self._scales = weight.abs().amax(dim=1).div_(127).clamp_min_(_SMALLEST_SCALE)
        # as [in, out] over the rows of [out, in]: how the product wants it
        self._weight = torch.round(weight / self._scales[:, None]).to(torch.int8).t()
        # what a token's zero is multiplied by: of the codes, so that what rounding did to the weights cancels out
        self._sums = self._weight.sum(dim=0, dtype=torch.int32) * self._scales
        self._bias = bias

    def __call__(self, x: torch.Tensor, activation: str | None = None) -> torch.Tensor:
        """Activation(x W^T + b), to about two digits."""
        out = torch.empty(x.shape[0], self._bias.shape[0], dtype=x.dtype)
        # what is made on the way stays in the processor's cache
        for start in range(0, x.shape[0], _INT8_ROWS):
            some = x[start : start + _INT8_ROWS]
            # all 256 codes from the smallest to the largest component: after an activation few are below 0
            low, high = some.aminmax(dim=1, keepdim=True)
            scales = (high - low).div_(255).clamp_min_(_SMALLEST_SCALE)
            zeros = low.add_(scales, alpha=128)
            codes = (some - zeros).div_(scales).round_().clamp_(-128, 127).to(torch.int8)
            sums = torch._int_mm(codes, self._weight).float()  # noqa: SLF001 - see `has_int8`
            part = torch.addcmul(self._bias, sums.mul_(self._scales), scales)
            out[start : start + _INT8_ROWS] = _activated(part.addr_(zeros[:, 0], self._sums), activation)
        return out


def linear(weight: torch.Tensor, bias: torch.Tensor, *, int8: bool = False) -> Linear:
    """The fastest layer for weights where and as they are.

    Args:
        weight: [out, in], on the device it is to run on and in the type it is to run in.
        bias: [out].
        int8: whether to multiply bytes; weights are then fp32, on the CPU.
    """
    if int8:
        return Int8Linear(weight, bias)
    if weight.device.type == "cpu" and packs(weight.dtype):
        return PackedLinear(weight, bias)
    return PlainLinear(weight, bias)


@cache
def packs(dtype: torch.dtype) -> bool:
    """Whether `PackedLinear` works here and gives what `PlainLinear` gives.

    Its operations are torch's own but not documented, so they are tried before they are relied on.
    """
    if dtype not in {torch.float32, torch.bfloat16} or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(5)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    x, weight, bias = numbers(9, 96), numbers(160, 96) / 10, numbers(160)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    try:
        with torch.inference_mode():
            plain, packed = PlainLinear(weight, bias), PackedLinear(weight, bias)
            return all(
                torch.allclose(packed(x, activation), plain(x, activation), atol=tolerance, rtol=tolerance)
                for activation in (None, *ACTIVATIONS)
            )
    except (RuntimeError, AttributeError, TypeError):
        return False


@cache
def has_int8() -> bool:
    """Whether torch multiplies bytes here, exactly; its operation is not documented, so it is tried."""
    generator = torch.Generator().manual_seed(5)
    a, b = (torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8) for shape in ((9, 96), (160, 96)))
    try:
        return torch.equal(torch._int_mm(a, b.t()).long(), a.long() @ b.long().t())  # noqa: SLF001 - see above
    except (RuntimeError, AttributeError, TypeError):
        return False


def _activated(x: torch.Tensor, activation: str | None) -> torch.Tensor:
    if activation is None:
        return x
    name, algorithm = ACTIVATIONS[activation]
    return functional.gelu(x, approximate=algorithm) if name == "gelu" else x.relu_()
