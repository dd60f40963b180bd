"""Saving: a trained model as a folder in M3's layout.

Imports encoder, errors, safetensors and torch. Invariant: `Encoder.load` and FlagEmbedding read the folder, and both find
the same weights: a head's ``.pt``, which FlagEmbedding reads, and its ``.safetensors`` hold the same values.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from m3search.encoder.head import COLBERT, SPARSE
from m3search.encoder.padded import quiet_transformers
from m3search.encoder.settings import OWN_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from m3search.encoder.checkpoint import Checkpoint
    from m3search.training.model import TrainedModel

_COPIED = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model"),
    *("vocab.txt", "added_tokens.json"),
)


def save_checkpoint(model: TrainedModel, checkpoint: Checkpoint, folder: Path) -> None:
    """Writes backbone, heads, tokenizer and settings, in fp32.

    Args:
        model: what was trained.
        checkpoint: what it began as; its tokenizer and settings are the new one's.
        folder: made if it is not there; files of an older checkpoint in it are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        source = checkpoint.folder / name
        if source.is_file():
            shutil.copyfile(source, folder / name)
    shutil.copyfile(checkpoint.tokenizer, folder / "tokenizer.json")
    with quiet_transformers():
        model.backbone.save_pretrained(folder)
    for name, layer in ((SPARSE, model.sparse_linear), (COLBERT, model.colbert_linear)):
        state = {key: value.detach().float().cpu().contiguous() for key, value in layer.state_dict().items()}
        torch.save(state, folder / f"{name}.pt")
        save_file(state, folder / f"{name}.safetensors")
    settings = checkpoint.settings
    own = {
        "pooling": settings.pooling,
        "max_tokens": settings.max_tokens,
        "prefixes": {"query": settings.query_prefix, "passage": settings.passage_prefix},
        "weights": {leg: weight for leg, weight in settings.weights.to_dict().items() if weight},
    }
    (folder / OWN_FILE).write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
