"""Checkpoint: the files of a model folder in M3's layout, found and named.

Owns which files make a checkpoint and the hashes that go into an `EncoderIdentity`. Imports records, errors and its
neighbours for JSON, settings and heads. Invariant: a Checkpoint's files were all there when it was made.

Hashes: the backbone's weight files by their bytes, the heads by their values, the tokenizer and the architecture by
what their JSON says, so that a copy of a model from another place counts as the same model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m3search.encoder.head import COLBERT, SPARSE, find_head
from m3search.encoder.json_files import hash_json, read_json
from m3search.encoder.settings import Settings
from m3search.errors import CheckpointError
from m3search.records import EncoderIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from m3search.encoder.head import Head

BACKBONES = ("bert", "xlm-roberta")
"""The ``model_type`` of the backbones that m3search runs."""

_ARCHITECTURE = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "max_position_embeddings",
    "type_vocab_size",
    "pad_token_id",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The files of one model.

    Attributes:
        name: what it was asked for by.
        revision: the hub's commit, or "".
        folder: where config, tokenizer and backbone lie.
        config: the backbone's ``config.json``.
        settings: pooling, limit, prefixes, recommended weights.
        weights: the backbone's weight files.
        tokenizer: ``tokenizer.json``.
        sparse: the lexical head's file.
        colbert: the multi-vector head's file.
    """

    name: str
    revision: str
    folder: Path
    config: Mapping[str, Any]
    settings: Settings
    weights: tuple[Path, ...]
    tokenizer: Path
    sparse: Path
    colbert: Path

    @classmethod
    def read(cls, folder: Path, *, name: str, revision: str = "", heads: Path | None = None) -> Checkpoint:
        """Finds the files of a model.

        Args:
            folder: the model in M3's layout.
            name: what it was asked for by.
            revision: the hub's commit.
            heads: the folder of the heads where it is another one.

        Raises:
            CheckpointError: a file is missing or damaged, or the backbone is of an unknown kind.
        """
        config = read_json(folder / "config.json")
        if config.get("model_type") not in BACKBONES:
            raise CheckpointError(
                f"{folder / 'config.json'} describes a {config.get('model_type')!r} backbone: m3search runs "
                f"{' and '.join(BACKBONES)}"
            )
        return cls(
            name=name,
            revision=revision,
            folder=folder,
            config=config,
            settings=Settings.read(folder, config),
            weights=find_weights(folder),
            tokenizer=_find_tokenizer(folder),
            sparse=find_head(heads or folder, SPARSE),
            colbert=find_head(heads or folder, COLBERT),
        )

    def identity(self, *, sparse: Head, colbert: Head, max_tokens: int) -> EncoderIdentity:
        """Who this model is; reads all weight files once to hash them.

        Args:
            sparse: the lexical head as loaded.
            colbert: the multi-vector head as loaded.
            max_tokens: the limit in force.
        """
        tokenizer = read_json(self.tokenizer)
        # what is baked in here is overridden at loading
        tokenizer.pop("truncation", None)
        tokenizer.pop("padding", None)
        files = {
            "config.json": hash_json({key: self.config.get(key) for key in _ARCHITECTURE}),
            "tokenizer.json": hash_json(tokenizer),
            **{path.name: hash_file(path) for path in self.weights},
            SPARSE: sparse.sha256,
            COLBERT: colbert.sha256,
        }
        prefixes = {"query": self.settings.query_prefix, "passage": self.settings.passage_prefix}
        if any(prefixes.values()):
            files["prefixes"] = hash_json(prefixes)
        return EncoderIdentity(
            name=self.name,
            revision=self.revision,
            files=files,
            pooling=self.settings.pooling,
            dim=int(self.config["hidden_size"]),
            colbert_dim=int(colbert.bias.shape[0]),
            vocab_size=int(self.config["vocab_size"]),
            max_tokens=max_tokens,
        )


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The backbone's weight files: safetensors before pickled tensors, in one file or in shards.

    Raises:
        CheckpointError: there are none, or a shard is missing.
    """
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / single).is_file():
            return (folder / single,)
        if (folder / index).is_file():
            shards = sorted({str(name) for name in read_json(folder / index).get("weight_map", {}).values()})
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            if missing or not shards:
                raise CheckpointError(
                    f"{folder / index} names {missing[0] if missing else 'no files'}, which is not there: "
                    "download the model again"
                )
            return tuple(folder / shard for shard in shards)
    raise CheckpointError(
        f"{folder} has no backbone weights: neither model.safetensors nor pytorch_model.bin is there. Download the "
        "model again, or point to a folder in the layout of BAAI/bge-m3"
    )


def hash_file(path: Path) -> str:
    """The sha256 (hex) of a file's bytes.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}): download the model again") from error


def _find_tokenizer(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if path.is_file():
        return path
    raise CheckpointError(
        f"{path} is missing: m3search reads the tokenizers library's own format. Download the model again, or make "
        "the file with transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    )
