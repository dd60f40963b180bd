"""Attention within texts that lie one after the other, without padding between them.

Owns which kernel attends. Imports numpy and torch. Invariant: a token attends to the tokens of its own text, all of them,
and nothing else, so a text's states do not depend on its neighbours but for rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PRODUCT_LENGTH = 512
"""Longest text for which two bf16 products and a softmax beat torch's fused kernel on a CPU, which multiplies in fp32."""

_PRODUCT_SCORES = 2**22
"""Scores held at a time on that way: what stays in a processor's cache."""


def attend(qkv: torch.Tensor, lengths: NDArray[np.int64], heads: int) -> torch.Tensor:
    """Softmax(q k^T / sqrt(d)) v, head by head and text by text (Vaswani et al. 2017, section 3.2).

    Args:
        qkv: [t, 3 * hidden], queries, keys and values of all tokens side by side.
        lengths: i64[b], tokens of each text; they sum to t. Texts of equal length that are neighbours go together.
        heads: number of heads.

    Returns:
        [t, hidden].
    """
    if qkv.device.type != "cpu":
        return attend_padded(qkv, lengths, heads)
    tokens, hidden = qkv.shape[0], qkv.shape[1] // 3
    out = torch.empty(tokens, hidden, dtype=qkv.dtype)
    start = 0
    for texts, length in _runs(lengths):
        # views: texts of one length are a regular grid
        parts = qkv[start : start + texts * length].view(texts, length, 3, heads, hidden // heads)
        grid = out[start : start + texts * length].view(texts, length, heads, hidden // heads)
        if qkv.dtype == torch.bfloat16 and length <= _PRODUCT_LENGTH:
            _by_products(parts, grid)
        else:
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            grid.copy_(scaled_dot_product_attention(q, k, v).transpose(1, 2))
        start += texts * length
    return out


def _by_products(parts: torch.Tensor, grid: torch.Tensor) -> None:
    """The same as two batched products, into `grid` [texts, length, heads, d]."""
    texts, length, _, heads, width = parts.shape
    step = max(1, _PRODUCT_SCORES // (heads * length * length))
    for start in range(0, texts, step):
        some = parts[start : start + step]
        q, k, v = some.permute(2, 0, 3, 1, 4).reshape(3, -1, length, width)
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(width**-0.5)
        found = torch.bmm(torch.softmax(scores, dim=-1), v)
        grid[start : start + step] = found.view(-1, heads, length, width).transpose(1, 2)


def attend_padded(qkv: torch.Tensor, lengths: NDArray[np.int64], heads: int) -> torch.Tensor:
    """The same as `attend` in one call for all texts, for devices where a call costs more than some padding."""
    hidden = qkv.shape[1] // 3
    longest = int(lengths.max())
    if (lengths == longest).all():
        q, k, v = qkv.view(len(lengths), longest, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
        return scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, hidden)
    real = torch.from_numpy(np.arange(longest)[None, :] < lengths[:, None]).to(qkv.device)
    grid = qkv.new_zeros(len(lengths), longest, 3 * hidden)
    grid[real] = qkv
    q, k, v = grid.view(len(lengths), longest, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
    found = scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
    return found.transpose(1, 2).reshape(len(lengths), longest, hidden)[real]


def _runs(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(how many, length) of neighbours of equal length."""
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    for count, length in zip(np.diff(starts, append=len(lengths)), lengths[starts], strict=True):
        yield int(count), int(length)
