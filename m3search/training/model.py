"""TrainedModel: backbone and heads as torch modules, with gradients.

Imports encoder, errors and torch. Invariant: in evaluation its outputs are those of `Encoder` to 1e-5 in fp32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import normalize

from m3search.encoder.head import Head, read_head
from m3search.encoder.padded import load_modules
from m3search.errors import InputError
from m3search.training.lexical_scores import LexicalTokens
from m3search.training.multi_vector_scores import TokenVectors

if TYPE_CHECKING:
    from m3search.encoder.checkpoint import Checkpoint

HEADS = ("lexical", "colbert")
"""Names of the heads."""

Outputs = dict[str, torch.Tensor]
""""dense" f32[n, dim], "weights" f32[t] of all kept tokens (0 where they carry no word), "vectors" f32[t, colbert_dim];
only those that were asked for."""


class TrainedModel(nn.Module):
    """An M3 model.

    Attributes:
        backbone: transformers' modules.
        sparse_linear: hidden -> 1.
        colbert_linear: hidden -> colbert_dim.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, new_heads: Collection[str] = (), colbert_dim: int | None = None
    ) -> None:
        """Loads a checkpoint.

        Args:
            checkpoint: the model to begin with.
            new_heads: heads to begin anew ("lexical", "colbert"), from torch's random numbers.
            colbert_dim: width of a new multi-vector head; None: the old one's.

        Raises:
            InputError: no such head, or a width for a head that is kept.
            CheckpointError: the files are damaged.
        """
        super().__init__()
        check_heads(new_heads)
        hidden = int(checkpoint.config["hidden_size"])
        sparse = read_head(checkpoint.sparse, hidden=hidden, rows=1)
        colbert = read_head(checkpoint.colbert, hidden=hidden)
        self.backbone = load_modules(checkpoint).float()
        self.pooling = checkpoint.settings.pooling
        width = int(colbert.bias.shape[0])
        if colbert_dim not in {None, width} and "colbert" not in new_heads:
            raise InputError(f"the multi-vector head has {width} dimensions: begin it anew to have {colbert_dim}")
        self.sparse_linear = _linear(sparse, new="lexical" in new_heads, rows=1)
        self.colbert_linear = _linear(colbert, new="colbert" in new_heads, rows=colbert_dim or width)
        self.outputs: frozenset[str] = frozenset({"dense", *HEADS})
        self._frozen = False

    def freeze(self, heads: Collection[str]) -> None:
        """Trains only these heads; the backbone then runs without gradients and without dropout."""
        check_heads(heads)
        self._frozen = True
        self.backbone.requires_grad_(False)
        self.sparse_linear.requires_grad_("lexical" in heads)
        self.colbert_linear.requires_grad_("colbert" in heads)

    def checkpoint_activations(self) -> None:
        """Keeps only what goes into a layer while training; the rest is computed again."""
        backbone: Any = self.backbone
        # transformers 5.20 gave it another name
        enable = getattr(backbone, "activation_checkpointing_enable", None) or backbone.gradient_checkpointing_enable
        enable({"use_reentrant": False})

    def train(self, mode: bool = True) -> TrainedModel:
        """As torch's; a frozen backbone stays as it is when it encodes."""
        super().train(mode)
        if self._frozen:
            self.backbone.eval()
        return self

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, kept: torch.Tensor, words: torch.Tensor) -> Outputs:
        """The outputs of a batch's side, as `batches.side` makes it."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            states = self.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.heads(states.float(), mask, kept, words)

    def heads(self, states: torch.Tensor, mask: torch.Tensor, kept: torch.Tensor, words: torch.Tensor) -> Outputs:
        """The outputs from token states f32[n, length, hidden]."""
        found: Outputs = {}
        with torch.autocast(states.device.type, enabled=False):
            if "dense" in self.outputs:
                if self.pooling == "cls":
                    pooled = states[:, 0]
                else:
                    pooled = (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
                found["dense"] = normalize(pooled, dim=-1)
            tokens = states[kept]
            if "lexical" in self.outputs:
                found["weights"] = torch.relu(self.sparse_linear(tokens).squeeze(-1)) * words[kept]
            if "colbert" in self.outputs:
                found["vectors"] = normalize(self.colbert_linear(tokens), dim=-1)
        return found


def lexical_tokens(texts: Mapping[str, torch.Tensor], outputs: Outputs) -> LexicalTokens:
    """The weights of a side with their tokens."""
    kept = texts["kept"]
    rows = torch.arange(len(kept), device=kept.device)[:, None].expand_as(kept)
    return LexicalTokens(rows[kept], texts["ids"][kept], outputs["weights"], len(kept))


def token_vectors(texts: Mapping[str, torch.Tensor], outputs: Outputs) -> TokenVectors:
    """The vectors of a side with how many each text has."""
    return TokenVectors(outputs["vectors"], texts["kept"].sum(dim=1).cpu())


def check_heads(names: Collection[str]) -> None:
    """Sees that these are names of heads.

    Raises:
        InputError: one is not.
    """
    for name in names:
        if name not in HEADS:
            raise InputError(f"there is no head {name!r}: the heads are {' and '.join(HEADS)}")


def _linear(head: Head, *, new: bool, rows: int) -> nn.Linear:
    hidden: Any = head.weight.shape[1]
    layer = nn.Linear(hidden, rows)
    if not new:
        layer.load_state_dict({"weight": head.weight, "bias": head.bias})
    return layer
