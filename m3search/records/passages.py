"""Passages: how long documents are cut into what is scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from m3search.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDS = ("paragraph", "sentence", "word")
"""Where a passage may end, the coarsest first."""

_FEWEST = 8


@dataclass(frozen=True, slots=True)
class Passages:
    """How a document that is longer than a passage is cut; the title stands before every passage.

    Attributes:
        tokens: of the encoder's vocabulary that a passage has at most, its title included; None: as many as the encoder
            takes. Without an encoder: words.
        overlap: tokens that a passage repeats of the one before it at most: whole sentences, or words where none is so short.
        by: where passages end: "paragraph", "sentence" or "word". What is longer than a passage is cut at the next finer
            ends, at last between characters.

    Raises:
        InputError: one is out of range.
    """

    tokens: int | None = None
    overlap: int = 0
    by: str = "sentence"

    def __post_init__(self) -> None:
        if self.tokens is not None and not _is_whole(self.tokens, _FEWEST):
            raise InputError(f"passages of tokens={self.tokens!r}: give a whole number from {_FEWEST}, or None")
        if not _is_whole(self.overlap, 0):
            raise InputError(f"passages with overlap={self.overlap!r}: give a whole number of tokens from 0")
        if self.tokens is not None:
            self.check_room(self.tokens)
        if self.by not in ENDS:
            raise InputError(f"passages by {self.by!r}: give one of {', '.join(ENDS)}")

    def room(self, most: int | None) -> int | None:
        """Tokens of one passage where an encoder takes `most`; None: documents stay whole, however long they are.

        Raises:
            InputError: more are wanted than the encoder takes, or more than half is to be repeated.
        """
        if self.tokens is not None and most is not None and self.tokens > most:
            raise InputError(
                f"passages of {self.tokens:,} tokens are wanted, but the encoder takes {most:,} of a text: give fewer, or None"
            )
        room = most if self.tokens is None else self.tokens
        if room is not None:
            self.check_room(room)
        return room

    def check_room(self, room: int) -> None:
        """Raises `InputError` where passages of so many tokens would mostly repeat each other."""
        if 2 * self.overlap > room:
            raise InputError(
                f"passages of {room:,} tokens with an overlap of {self.overlap:,}: at most half of one can be repeated"
            )

    def to_dict(self) -> dict[str, Any]:
        """As a mapping, for msgpack and JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave."""
        return cls(**value)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
