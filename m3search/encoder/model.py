"""Model: backbone, pooling and the two heads; one batch of token ids to the three outputs.

Imports its neighbours and torch. Invariant: a head sees real tokens only, and outputs leave in fp32.

The mathematics are those of the BGE-M3 paper, section 3.2: dense is the pooled, normalised state; a lexical weight is
relu(W h) per token; a token vector is the normalised colbert_linear(h) of every token but the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.nn.functional import linear, normalize

from m3search.encoder.linear import linear as layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from m3search.encoder.head import Head


class TokenStates(Protocol):
    """A transformer: `Backbone`, or the padded one that it is held against."""

    device: torch.device
    hidden: int
    padded: bool

    def states(self, rows: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """[t, hidden] of all tokens, text after text."""
        ...


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """What a batch of b texts gave; an output that was not asked for is None.

    Attributes:
        dense: f32[b, dim], L2-normalised.
        rows: i64[t], which text of the batch every text token belongs to.
        weights: f32[t], weight of every text token before the relu; those that are skipped are left out.
        colbert: b arrays f32[t, colbert_dim], L2-normalised.
    """

    dense: NDArray[np.float32] | None
    rows: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    colbert: list[NDArray[np.float32]] | None


class Model:
    """An M3 model on its device.

    Attributes:
        dim: width of a dense vector.
        colbert_dim: width of a token vector.
        padded: whether short texts of a batch are filled up.
        device: where it runs.
    """

    def __init__(self, backbone: TokenStates, *, pooling: str, sparse: Head, colbert: Head) -> None:
        """Puts the parts together.

        Args:
            backbone: token ids to states.
            pooling: "cls" or "mean".
            sparse: the lexical head, hidden -> 1.
            colbert: the multi-vector head, hidden -> colbert_dim.
        """
        self._backbone = backbone
        self.dim = backbone.hidden
        self.colbert_dim = int(colbert.bias.shape[0])
        self.padded = backbone.padded
        self.device = backbone.device
        self._pooling = pooling
        self._sparse = (sparse.weight.to(backbone.device), sparse.bias.to(backbone.device))
        self._colbert = layer(colbert.weight.to(backbone.device), colbert.bias.to(backbone.device))

    def run(
        self, ids: Sequence[NDArray[np.int32]], skip: NDArray[np.int64], *, dense: bool, lexical: bool, colbert: bool
    ) -> BatchOutput:
        """One forward pass.

        Args:
            ids: b arrays of token ids.
            skip: i64[b], tokens at the front that enter neither lexical nor colbert.
            dense: whether to pool.
            lexical: whether to weigh the tokens.
            colbert: whether to make token vectors.
        """
        lengths = np.array([len(row) for row in ids], np.int64)
        starts = np.cumsum(lengths) - lengths
        with torch.inference_mode():
            states = self._backbone.states(ids)
            pooled = normalize(self._pool(states, starts, lengths), dim=-1) if dense else None
            # tokens of the text itself, and what closes it: neither the opening token nor a prefix
            counts = lengths - skip
            wanted = np.repeat(starts + skip - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
            weights = vectors = None
            if lexical:
                weights = linear(states.float(), *self._sparse).squeeze(-1)
            if colbert:
                kept = torch.from_numpy(wanted).to(states.device)
                vectors = normalize(self._colbert(states.index_select(0, kept).float()), dim=-1)
        return BatchOutput(
            dense=None if pooled is None else pooled.cpu().numpy(),
            rows=np.repeat(np.arange(len(ids)), counts),
            weights=None if weights is None else weights.cpu().numpy()[wanted],
            colbert=None if vectors is None else np.split(vectors.cpu().numpy(), np.cumsum(counts)[:-1]),
        )

    def _pool(self, states: torch.Tensor, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> torch.Tensor:
        device = states.device
        if self._pooling == "cls":
            return states.index_select(0, torch.from_numpy(starts).to(device)).float()
        owner = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(device)
        sums = torch.zeros(len(lengths), self.dim, device=device).index_add_(0, owner, states.float())
        return sums / torch.from_numpy(lengths).to(device).unsqueeze(-1)
