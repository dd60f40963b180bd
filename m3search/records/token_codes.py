"""TokenCodes: the token vectors of n texts, coded as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from m3search.errors import EncodingsError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODECS = ("int8", "bf16", "int8+bits")
"""How token vectors are coded: a byte a component and a scale a token; the upper half of each float32; or the bytes, and
beside them the sign of every component, one bit."""

_LARGEST = np.float32(127)
_LARGEST_SCALE = np.nextafter(np.finfo(np.float32).max / _LARGEST, np.float32(0))  # 127 times as much is still finite
SIGNS_PER_WORD = 32


@dataclass(frozen=True, slots=True, eq=False)
class TokenCodes(Sequence["NDArray[np.float32]"]):
    """Coded token vectors; as a sequence, the decoded vectors f32[t, dim] of each text.

    Attributes:
        codec: one of `CODECS`.
        codes: i8[tokens, dim], or u16[tokens, dim] with bf16.
        ends: i64[n + 1]: text i owns the rows ends[i] to ends[i + 1].
        scales: f32[tokens], what a code is multiplied by; None with bf16.
        signs: u32[tokens, ceil(dim / 32)], a bit for every component above 0, the first one lowest; None without.

    Raises:
        EncodingsError: the arrays do not fit together.
        InputError: there is no such codec.
    """

    codec: str
    codes: NDArray[Any]
    ends: NDArray[np.int64]
    scales: NDArray[np.float32] | None = None
    signs: NDArray[np.uint32] | None = None

    def __post_init__(self) -> None:
        tokens = len(self.codes)
        wanted = np.uint16 if check_codec(self.codec) == "bf16" else np.int8
        parts = (self.scales is not None, self.signs is not None)
        if (
            self.codes.ndim != 2
            or self.codes.dtype != wanted
            or parts != (self.codec != "bf16", self.codec == "int8+bits")
            or (self.scales is not None and self.scales.shape != (tokens,))
            or (self.signs is not None and self.signs.shape != (tokens, -(-self.codes.shape[1] // SIGNS_PER_WORD)))
            or not len(self.ends)
            or self.ends[0] != 0
            or self.ends[-1] != tokens
            or (np.diff(self.ends) < 0).any()
        ):
            raise EncodingsError(f"the arrays of {self.codec} token codes do not fit together: make them with code()")

    @classmethod
    def code(cls, vectors: Sequence[NDArray[np.float32]], codec: str, *, dim: int) -> TokenCodes:
        """Codes the vectors of texts.

        Args:
            vectors: n arrays f32[t, dim].
            codec: one of `CODECS`.
            dim: width of a vector, for where there is no text.

        Raises:
            InputError: there is no such codec.
        """
        check_codec(codec)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(one) for one in vectors], dtype=np.int64)])
        codes = np.empty((ends[-1], dim), np.uint16 if codec == "bf16" else np.int8)
        scales = None if codec == "bf16" else np.empty(ends[-1], np.float32)
        signs = np.empty((ends[-1], -(-dim // SIGNS_PER_WORD)), np.uint32) if codec == "int8+bits" else None
        # text by text: what is made on the way stays small
        for start, stop, one in zip(ends[:-1], ends[1:], vectors, strict=True):
            if scales is None:
                codes[start:stop] = to_bf16(one)
                continue
            codes[start:stop], scales[start:stop] = to_int8(one)
            if signs is not None:
                signs[start:stop] = sign_words(one)
        return cls(codec, codes, ends, scales, signs)

    @classmethod
    def select(cls, parts: Sequence[TokenCodes], order: NDArray[np.int64]) -> TokenCodes:
        """Texts of several parts, taken one after the other, in another order.

        Args:
            parts: at least one; all of one codec and width.
            order: i64[m], positions in the parts joined.
        """
        starts = np.cumsum([0, *(len(part.codes) for part in parts)])
        first = np.concatenate([part.ends[:-1] + start for part, start in zip(parts, starts, strict=False)])[order]
        sizes = np.concatenate([np.diff(part.ends) for part in parts])[order]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        rows = np.repeat(first - ends[:-1], sizes) + np.arange(ends[-1])

        def joined(name: str) -> Any:  # noqa: ANN401 - arrays of several types
            arrays = [getattr(part, name) for part in parts]
            return None if arrays[0] is None else (arrays[0] if len(arrays) == 1 else np.concatenate(arrays))[rows]

        return cls(parts[0].codec, joined("codes"), ends, joined("scales"), joined("signs"))

    def recoded(self, codec: str) -> TokenCodes:
        """The same vectors in another codec.

        Signs that are made of bytes leave out components that were rounded to 0; bytes that are made of bf16 are rounded a
        second time.

        Raises:
            InputError: there is no such codec, or it would hold more than these codes say.
        """
        if check_codec(codec) == self.codec:
            return self
        if codec == "bf16":
            raise InputError(
                f"{self.codec} token vectors cannot become bf16, which would have twice the bytes and say no more: keep "
                f"{self.codec}, or build again with colbert='bf16'"
            )
        codes, scales = self.codes, self.scales
        if self.codec == "bf16":
            return self.code([self[row] for row in range(len(self))], codec, dim=self.dim)
        return TokenCodes(codec, codes, self.ends, scales, sign_words(codes) if codec == "int8+bits" else None)

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.codes.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.codes, self.ends, self.scales, self.signs)
        return sum(array.nbytes for array in arrays if array is not None)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, row: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, row: slice) -> TokenCodes: ...
    def __getitem__(self, row: int | slice) -> NDArray[np.float32] | TokenCodes:
        """The decoded vectors of a text, or the codes of several."""
        if isinstance(row, slice):
            return self.select([self], np.arange(len(self))[row])
        if not -len(self) <= row < len(self):
            raise IndexError(f"text {row} of {len(self)}")
        row %= len(self)
        part = slice(self.ends[row], self.ends[row + 1])
        return decoded(self.codes[part], None if self.scales is None else self.scales[part])


def check_codec(codec: str) -> str:
    """The codec, if there is one of this name.

    Raises:
        InputError: there is none.
    """
    if codec not in CODECS:
        raise InputError(f"there is no ColBERT codec {codec!r}: choose one of {', '.join(CODECS)}")
    return codec


def decoded(codes: NDArray[Any], scales: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """f32[t, dim] of codes i8[t, dim] and scales f32[t], or of u16[t, dim] and no scales."""
    if scales is None:
        return (codes.astype(np.uint32) << 16).view(np.float32)
    vectors: NDArray[np.float32] = codes.astype(np.float32) * scales[:, None]
    return vectors


def to_int8(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes i8[t, dim] and scales f32[t] of f32[t, dim]; a scale is 1/127 of the largest component of its token."""
    scales = np.minimum(np.abs(vectors).max(axis=1, initial=0) / _LARGEST, _LARGEST_SCALE)
    safe = np.where(scales > 0, scales, 1)[:, None]
    # at the ends of float32 a scale is rounded so much that what it divides may pass 127
    return np.clip(np.rint(vectors / safe), -_LARGEST, _LARGEST).astype(np.int8), scales


def sign_words(vectors: NDArray[Any]) -> NDArray[np.uint32]:
    """u32[t, ceil(dim / 32)]: a bit for every component of f32 or i8[t, dim] that is above 0, the first one lowest."""
    bits = np.packbits(vectors > 0, axis=1, bitorder="little")
    words = np.zeros((len(vectors), -(-vectors.shape[1] // SIGNS_PER_WORD) * (SIGNS_PER_WORD // 8)), np.uint8)
    words[:, : bits.shape[1]] = bits
    return words.view("<u4")


def to_bf16(vectors: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest, ties to even; the largest stay finite."""
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(rounded & 0x7FFF == 0x7F80, rounded - 1, rounded).astype(np.uint16)
