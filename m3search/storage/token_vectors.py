"""TokenVectors: the ColBERT vectors of a segment, as files.

Imports the codecs (`records/token_codes.py`) and the array file. The signs of "int8+bits" have a file of their own, so that a
first look reads nothing else. Invariant: what `decode` returns is a function of the stored bytes alone, so
scores do not depend on where a passage lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError
from m3search.records import check_codec
from m3search.records.token_codes import SIGNS_PER_WORD, TokenCodes, decoded, sign_words, to_bf16, to_int8
from m3search.storage.array_file import ArrayFileWriter
from m3search.storage.codec import check_ends, ends_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.directory import Directory

LARGEST_SEGMENT = 2**26
"""Tokens that a segment is kept to: their scales stay in memory until it ends."""


def files_of(codec: str) -> tuple[str, ...]:
    """Suffixes of the files that a segment has for its token vectors."""
    return ("colbert", "signs") if has_signs(codec) else ("colbert",)


def has_signs(codec: str) -> bool:
    """Whether there is a bit for the sign of every component."""
    return codec == "int8+bits"


def token_bytes(dim: int, codec: str) -> int:
    """Bytes that a token takes on the disk."""
    scale, signs = np.dtype(np.float32).itemsize, 4 * -(-dim // SIGNS_PER_WORD)
    return {"int8": dim + scale, "bf16": 2 * dim, "int8+bits": dim + scale + signs}[check_codec(codec)]


class TokenVectorsWriter:
    """Appends passages' token vectors to the files of a segment; only offsets and scales stay in memory."""

    def __init__(self, directory: Directory, segment: str, dim: int, codec: str) -> None:
        """Begins ``<segment>.colbert``, and ``<segment>.signs`` where the codec has signs."""
        self._codec = check_codec(codec)
        self._files: dict[str, ArrayFileWriter] = {}
        try:
            for suffix in files_of(codec):
                self._files[suffix] = ArrayFileWriter(directory, f"{segment}.{suffix}")
            self._files["colbert"].begin("codes", "<u2" if codec == "bf16" else "|i1", dim)
            if has_signs(codec):
                self._files["signs"].begin("signs", "<u4", -(-dim // SIGNS_PER_WORD))
        except BaseException:
            self.discard()
            raise
        self._sizes: list[int] = []
        self._scales: list[NDArray[np.float32]] = []
        self.tokens = 0

    @property
    def full(self) -> bool:
        """Whether a segment should take no more."""
        return self.tokens >= LARGEST_SEGMENT

    def append(self, passages: Sequence[NDArray[np.float32]]) -> None:
        """Passages, each f32[t, dim]; `TokenCodes` of this codec are taken as they are."""
        if isinstance(passages, TokenCodes) and passages.codec == self._codec:
            self._append_codes(passages)
            return
        for vectors in passages:
            self._sizes.append(len(vectors))
            self.tokens += len(vectors)
            if self._codec == "bf16":
                self._files["colbert"].append(to_bf16(vectors))
                continue
            codes, scales = to_int8(vectors)
            self._scales.append(scales)
            self._files["colbert"].append(codes)
            if has_signs(self._codec):
                self._files["signs"].append(sign_words(vectors))

    def _append_codes(self, passages: TokenCodes) -> None:
        self._sizes.extend(np.diff(passages.ends).tolist())
        self.tokens += len(passages.codes)
        self._files["colbert"].append(passages.codes)
        if passages.scales is not None:
            self._scales.append(passages.scales)
        if passages.signs is not None:
            self._files["signs"].append(passages.signs)

    def append_stored(self, tokens: TokenVectors, rows: NDArray[np.int64]) -> None:
        """Passages of another segment of the same codec, code by code, so that no score changes."""
        starts, stops = tokens.ends[rows], tokens.ends[rows + 1]
        self._sizes.extend((stops - starts).tolist())
        self.tokens += int((stops - starts).sum())
        for start, stop in _runs(starts, stops):
            self._files["colbert"].append(tokens.codes[start:stop])
            if tokens.scales is not None:
                self._scales.append(np.array(tokens.scales[start:stop]))
            if tokens.signs is not None:
                self._files["signs"].append(tokens.signs[start:stop])

    def publish(self) -> dict[str, tuple[int, bytes]]:
        """Finish and publish the files: suffix -> (size, checksum)."""
        file = self._files["colbert"]
        if self._codec != "bf16":
            file.begin("scales", "<f4")
            file.append(np.concatenate(self._scales) if self._scales else np.empty(0, np.float32))
        file.begin("ends", "<i8")
        file.append(ends_of(np.array(self._sizes, np.int64)))
        return {suffix: file.publish() for suffix, file in self._files.items()}

    def discard(self) -> None:
        """Forget the files, if they were not published."""
        for file in self._files.values():
            file.discard()


class TokenVectors:
    """Reads the token vectors of passages.

    Attributes:
        dim: width of a vector.
        codes: i8 or u16[tokens, dim].
        scales: f32[tokens], or None with bf16.
        signs: u32[tokens, ceil(dim / 32)], or None.
        ends: i64[passages + 1]: which tokens are whose.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], passages: int, dim: int, codec: str, where: str) -> None:
        """Takes the arrays of a segment's files.

        Raises:
            CorruptionError: they do not fit together.
        """
        self.dim = dim
        wanted = {"codes", "ends"} | ({"scales"} if codec != "bf16" else set())
        wanted |= {"signs"} if has_signs(codec) else set()
        if wanted != set(arrays):
            raise CorruptionError(
                f"{where} holds {', '.join(sorted(arrays))}, {codec} has {', '.join(sorted(wanted))}: "
                f"restore the index or build it again"
            )
        self.codes = arrays["codes"]
        self.scales: NDArray[np.float32] | None = arrays.get("scales")
        self.signs: NDArray[np.uint32] | None = arrays.get("signs")
        self.ends: NDArray[np.int64] = arrays["ends"]
        tokens = len(self.codes)
        shapes = {
            "codes": ((tokens, dim), "u2" if codec == "bf16" else "i1"),
            "scales": ((tokens,), "f4"),
            "signs": ((tokens, -(-dim // SIGNS_PER_WORD)), "u4"),
            "ends": ((passages + 1,), "i8"),
        }
        for name, array in arrays.items():
            if (array.shape, array.dtype) != (shapes[name][0], np.dtype(shapes[name][1])):
                raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")
        check_ends(self.ends, passages, tokens, where)

    def __len__(self) -> int:
        """Tokens."""
        return len(self.codes)

    def decode(self, passage: int) -> NDArray[np.float32]:
        """The vectors f32[t, dim] of a passage's tokens."""
        start, stop = self.ends[passage], self.ends[passage + 1]
        return decoded(self.codes[start:stop], None if self.scales is None else self.scales[start:stop])


def _runs(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ascending ranges, joined where one begins at the end of the one before."""
    if len(starts):
        breaks = np.flatnonzero(starts[1:] != stops[:-1]) + 1
        firsts, lasts = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(starts)]]) - 1
        yield from zip(starts[firsts].tolist(), stops[lasts].tolist(), strict=True)
