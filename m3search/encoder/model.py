"""Model: backbone, pooling and the two heads; one batch of token ids to the three outputs.

Imports its neighbours; torch when it runs. Invariant: a head sees real tokens only, and outputs leave in fp32.

The mathematics are those of the BGE-M3 paper, section 3.2: dense is the pooled, normalised state; a lexical weight is
relu(W h) per token; a token vector is the normalised colbert_linear(h) of every token but the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from m3search.encoder.backbone import Backbone
    from m3search.encoder.head import Head


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

    def __init__(self, backbone: Backbone, *, pooling: str, sparse: Head, colbert: Head) -> None:
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
        self.padded = True
        self.device = backbone.device
        self._pooling = pooling
        self._sparse = (sparse.weight.to(backbone.device), sparse.bias.to(backbone.device))
        self._colbert = (colbert.weight.to(backbone.device), colbert.bias.to(backbone.device))

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
        import torch
        from torch.nn.functional import linear, normalize

        with torch.inference_mode():
            states, mask = self._backbone.states(ids)
            pooled = normalize(self._pool(states, mask), dim=-1) if dense else None
            lengths = np.array([len(row) for row in ids], np.int64)
            position = np.arange(states.shape[1])[None, :]
            wanted = (position >= skip[:, None]) & (position < lengths[:, None])
            # heads run on the tokens that count, gathered into one flat list
            tokens = states[torch.from_numpy(wanted).to(states.device)].float() if lexical or colbert else None
            weights = vectors = None
            if tokens is not None and lexical:
                weights = linear(tokens, *self._sparse).squeeze(-1)
            if tokens is not None and colbert:
                vectors = normalize(linear(tokens, *self._colbert), dim=-1)
        counts = wanted.sum(axis=1)
        return BatchOutput(
            dense=None if pooled is None else pooled.cpu().numpy(),
            rows=np.repeat(np.arange(len(ids)), counts),
            weights=None if weights is None else weights.cpu().numpy(),
            colbert=None if vectors is None else np.split(vectors.cpu().numpy(), np.cumsum(counts)[:-1]),
        )

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._pooling == "cls":
            return states[:, 0].float()
        kept = states.float() * mask.unsqueeze(-1)
        return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True)
