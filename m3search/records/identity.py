"""EncoderIdentity: which encoder made an index's vectors, precise enough to tell a look-alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What is stored with an index about its encoder.

    Attributes:
        name: what `Encoder.load` was called with: "mini", a hub name, or a folder.
        revision: the hub's commit, or "" for a folder or package.
        files: file name -> sha256 (hex) of everything that decides the vectors.
        pooling: "cls" or "mean".
        dim: width of a dense vector.
        colbert_dim: width of a token vector.
        vocab_size: number of token ids.
        max_tokens: tokens of one text, special tokens counted in.
    """

    name: str
    revision: str
    files: Mapping[str, str]
    pooling: str
    dim: int
    colbert_dim: int
    vocab_size: int
    max_tokens: int

    def same_vectors(self, other: EncoderIdentity) -> bool:
        """Whether both make the same vectors: all but the names and places of the files agree."""
        mine, others = self.to_dict(), other.to_dict()
        for fields in (mine, others):
            del fields["name"], fields["revision"]
        return mine == others

    def to_dict(self) -> dict[str, Any]:
        """As a mapping, for msgpack and JSON."""
        return asdict(self) | {"files": dict(self.files)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave."""
        return cls(**value)
