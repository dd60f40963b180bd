"""Manifest: the record that says what an index is, and the only commit point.

Owns `Manifest`, `SegmentInfo`, `FileInfo` and `IndexConfig`; imports records and the codec. Invariant: what a manifest
names is on the disk before the transaction that holds it commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from m3search.errors import CorruptionError, EncoderError, IndexFormatError
from m3search.records import EncoderIdentity, Passages, Weights
from m3search.storage.codec import pack_record, unpack_record
from m3search.storage.dense_settings import DenseSettings

FORMAT_VERSION = 4
"""1: inverted stores without blocks; 2: `block_postings`; 3: no columns of metadata."""


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """What is decided when an index is built and holds for all its segments.

    Attributes:
        dense_dim: width of the dense vectors; None: no dense leg.
        dense_kind: how the dense leg searches: "auto", "flat", "hnsw" or "ivf".
        dense_options: what was set of "M", "efConstruction" and "nlist".
        vocab_size: number of lexical token ids; None: no lexical leg.
        colbert_dim: width of the token vectors; None: no ColBERT leg.
        colbert_codec: "int8", "bf16" or "int8+bits".
        bm25: analysis and parameters of BM25 ({"analyzer", "k1", "b"}); None: no BM25 leg.
        encoder: who made the vectors; None: they were given.
        weights: the blend that a search uses when it names none.
        segment_size: passages in a segment at most.
        passages: how documents are cut; None: as `Passages()` says.
    """

    dense_dim: int | None = None
    dense_kind: str = "flat"
    dense_options: Mapping[str, int] = field(default_factory=dict)
    vocab_size: int | None = None
    colbert_dim: int | None = None
    colbert_codec: str = "int8"
    bm25: Mapping[str, Any] | None = None
    encoder: EncoderIdentity | None = None
    weights: Weights | None = None
    segment_size: int = 100_000
    passages: Passages | None = None

    @property
    def legs(self) -> tuple[str, ...]:
        """The legs that this index has, in the blend's order."""
        there = {
            "dense": self.dense_dim is not None,
            "lexical": self.vocab_size is not None,
            "bm25": self.bm25 is not None,
            "colbert": self.colbert_dim is not None,
        }
        return tuple(leg for leg, present in there.items() if present)

    @property
    def dense_settings(self) -> DenseSettings:
        """How the dense vectors are to be searched."""
        return DenseSettings(self.dense_kind, self.dense_options)

    def check_encoder(self, identity: EncoderIdentity) -> None:
        """Whether an encoder's vectors belong to this index.

        Raises:
            EncoderError: its files or widths are others.
        """
        if self.encoder is not None and not self.encoder.same_vectors(identity):
            raise EncoderError(
                f"this index was built with the encoder {self.encoder.name!r}, whose files differ from those of "
                f"{identity.name!r}: open it with the encoder it was built with, or build it again"
            )
        for what, its, own in (
            ("dense vectors", self.dense_dim, identity.dim),
            ("lexical weights", self.vocab_size, identity.vocab_size),
        ):
            if its is not None and its != own:
                raise EncoderError(
                    f"this index has {what} of width {its}, the encoder {identity.name!r} makes {own}: pass encoder=None"
                )

    def to_dict(self) -> dict[str, Any]:
        """As a mapping, for msgpack and JSON."""
        value = {name: getattr(self, name) for name in self.__slots__}
        value["dense_options"] = dict(self.dense_options)
        value["bm25"] = None if self.bm25 is None else dict(self.bm25)
        value["encoder"] = None if self.encoder is None else self.encoder.to_dict()
        value["weights"] = None if self.weights is None else self.weights.to_dict()
        value["passages"] = None if self.passages is None else self.passages.to_dict()
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave."""
        encoder, weights, passages = value["encoder"], value["weights"], value.get("passages")
        fields = {
            "encoder": None if encoder is None else EncoderIdentity.from_dict(encoder),
            "weights": None if weights is None else Weights.of(weights),
            "passages": None if passages is None else Passages.from_dict(passages),
        }
        return cls(**{**value, **fields})


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A segment file: bytes and BLAKE2b checksum."""

    size: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A segment as the manifest names it.

    Attributes:
        uuid: 32 hex digits; names its files, and as 16 bytes begins its keys.
        documents: how many it was written with, the deleted ones too.
        passages: likewise.
        deleted: how many documents are dead; their bitmap is the blob "live".
        files: suffix -> file, such as "vectors".
        blobs: name -> bytes of every array in the store.
        statistics: what was found while writing, such as "bm25_length", "dense_norm" and, with an approximate index,
            "dense_effort", "dense_recall_10" and "dense_recall_100".
        fields: name -> type of the metadata that is indexed, as `filtering.FieldType` writes it; None: there are no columns, as
            in segments of format 3 and earlier.
        fields_complete: whether all fields of the documents are among them.
    """

    uuid: str
    documents: int
    passages: int
    deleted: int = 0
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    blobs: Mapping[str, int] = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, str] | None = None
    fields_complete: bool = True

    @property
    def key(self) -> bytes:
        """The 16 bytes that begin all its keys in the store."""
        return bytes.fromhex(self.uuid)

    def file_name(self, suffix: str) -> str:
        """``<uuid>.<suffix>``."""
        return f"{self.uuid}.{suffix}"

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` gave."""
        return cls(**{**value, "files": {name: FileInfo(**info) for name, info in value["files"].items()}})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation of an index.

    Attributes:
        generation: counts the commits.
        config: see `IndexConfig`.
        segments: in the order in which their passages are counted.
        created: ISO 8601 time of the build.
    """

    generation: int
    config: IndexConfig
    segments: tuple[SegmentInfo, ...] = ()
    created: str = ""

    def with_segments(self, segments: tuple[SegmentInfo, ...]) -> Self:
        """The same with other segments."""
        return replace(self, segments=segments)

    def pack(self, key: bytes) -> bytes:
        """As a record for the store, under this key."""
        return pack_record(
            {
                "format": FORMAT_VERSION,
                "generation": self.generation,
                "config": self.config.to_dict(),
                "segments": [asdict(segment) for segment in self.segments],
                "created": self.created,
            },
            key,
        )

    @classmethod
    def unpack(cls, blob: bytes | memoryview, key: bytes, where: str) -> Self:
        """From the store's record under this key; every format keeps the record's layout and its "format".

        Raises:
            CorruptionError: the record is not what was written.
            IndexFormatError: it was written by a newer version.
        """
        record = unpack_record(blob, key, where)
        if not isinstance(record, dict) or not isinstance(record.get("format"), int):
            raise CorruptionError(f"{where} is no manifest: restore the index or build it again")
        if record["format"] > FORMAT_VERSION:
            raise IndexFormatError(
                f"{where} is of format {record['format']}, this m3search reads up to {FORMAT_VERSION}: upgrade m3search"
            )
        try:
            return cls(
                generation=record["generation"],
                config=IndexConfig.from_dict(record["config"]),
                segments=tuple(SegmentInfo.from_dict(segment) for segment in record["segments"]),
                created=record["created"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptionError(f"{where} is incomplete ({error}): restore the index or build it again") from error
