"""TokenVectors: the ColBERT vectors of a segment, in a storage codec.

Owns the codecs "int8" (a scale per token: 1/127 of its largest component) and "bf16"; imports the array file. Invariant:
what `decode` returns is a function of the stored bytes alone, so scores do not depend on where a passage lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError, InputError
from m3search.storage.array_file import ArrayFileWriter
from m3search.storage.codec import check_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.directory import Directory

CODECS = ("int8", "bf16")


def check_codec(codec: str) -> str:
    """The codec, if there is one of this name.

    Raises:
        InputError: there is none.
    """
    if codec not in CODECS:
        raise InputError(f"there is no ColBERT codec {codec!r}: choose one of {', '.join(CODECS)}")
    return codec


class TokenVectorsWriter:
    """Appends passages' token vectors to ``<uuid>.colbert``; only offsets and scales stay in memory."""

    def __init__(self, directory: Directory, name: str, dim: int, codec: str) -> None:
        self._codec = check_codec(codec)
        self._file = ArrayFileWriter(directory, name)
        self._file.begin("codes", "|i1" if codec == "int8" else "<u2", dim)
        self._sizes: list[int] = []
        self._scales: list[NDArray[np.float32]] = []

    def append(self, passages: Sequence[NDArray[np.float32]]) -> None:
        """Passages, each f32[t, dim]."""
        for vectors in passages:
            self._sizes.append(len(vectors))
            if self._codec == "bf16":
                self._file.append(_to_bf16(vectors))
            else:
                scales = np.abs(vectors).max(axis=1, initial=0) / np.float32(127)
                self._scales.append(scales)
                safe = np.where(scales > 0, scales, 1)[:, None]
                self._file.append(np.rint(vectors / safe).astype(np.int8))

    def publish(self) -> tuple[int, bytes]:
        """Finish and publish the file: (size, checksum)."""
        if self._codec == "int8":
            self._file.begin("scales", "<f4")
            self._file.append(np.concatenate(self._scales) if self._scales else np.empty(0, np.float32))
        self._file.begin("ends", "<i8")
        self._file.append(np.concatenate([np.zeros(1, np.int64), np.cumsum(self._sizes, dtype=np.int64)]))
        return self._file.publish()

    def discard(self) -> None:
        """Forget the file, if it was not published."""
        self._file.discard()


class TokenVectors:
    """Reads the token vectors of passages."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], passages: int, where: str) -> None:
        self._codes = arrays["codes"]
        self._scales = arrays.get("scales")
        self._ends: NDArray[np.int64] = arrays["ends"]
        tokens = len(self._codes)
        check_ends(self._ends, passages, tokens, where)
        if (self._scales is None) != (self._codes.dtype != np.int8):
            raise CorruptionError(f"{where} has codes without scales, or scales without codes: restore the index")
        if self._scales is not None and len(self._scales) != tokens:
            raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")

    def decode(self, passage: int) -> NDArray[np.float32]:
        """The vectors f32[t, dim] of a passage's tokens."""
        start, stop = self._ends[passage], self._ends[passage + 1]
        codes = self._codes[start:stop]
        if self._scales is None:
            return (codes.astype(np.uint32) << 16).view(np.float32)
        scales: NDArray[np.float32] = self._scales[start:stop, None]
        return codes.astype(np.float32) * scales


def _to_bf16(vectors: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
