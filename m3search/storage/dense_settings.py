"""DenseSettings: how the dense vectors of an index are to be searched, as the user asked and as a segment needs it.

Imports errors only. Invariant: settings that were made can be built for a segment of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from m3search.errors import InputError

KINDS = ("auto", "flat", "hnsw", "ivf")
FLAT_PASSAGES = 200_000
"""Largest segment that "auto" searches exhaustively."""

_RANGES = {"M": (4, 128), "efConstruction": (8, 4096), "nlist": (1, 2**20)}
_OPTIONS = {"auto": ("M", "efConstruction"), "flat": (), "hnsw": ("M", "efConstruction"), "ivf": ("nlist",)}
_M = 24
_EF_CONSTRUCTION = 200
_PASSAGES_A_LIST = 16  # fewer make lists whose centroid says little of what is in them
_MOST_LISTS = 4096


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """What an index stores of it.

    Attributes:
        kind: one of `KINDS`.
        options: those of "M", "efConstruction" (hnsw) and "nlist" (ivf) that the user set.
    """

    kind: str
    options: Mapping[str, int]

    @classmethod
    def of(cls, kind: object, options: object = None) -> Self:
        """From what a user gives.

        Raises:
            InputError: an unknown kind or option, or a value out of range.
        """
        if not isinstance(kind, str) or kind not in KINDS:
            raise InputError(f"dense is {kind!r}: give one of {', '.join(KINDS)}")
        if not (options is None or isinstance(options, Mapping)):
            raise InputError(f"dense_options is {options!r}: give a mapping such as {{'M': 32}}")
        given: dict[str, Any] = dict(options or {})
        for name, value in given.items():
            if name not in _OPTIONS[kind]:
                takes = ", ".join(_OPTIONS[kind]) or "none"
                raise InputError(f"dense={kind!r} has no option {name!r}: it takes {takes}")
            least, most = _RANGES[name]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"dense option {name} is {value!r}: give a whole number from {least:,} to {most:,}")
        return cls(kind, given)

    def kind_of(self, passages: int) -> str:
        """How a segment of so many passages is searched: "flat", "hnsw" or "ivf"."""
        if self.kind != "auto":
            return self.kind if passages else "flat"
        return "hnsw" if passages > FLAT_PASSAGES else "flat"

    @property
    def links(self) -> int:
        """Of a passage in HNSW's graph, twice as many on its lowest level."""
        return self.options.get("M", _M)

    @property
    def ef_construction(self) -> int:
        """How many neighbours HNSW looks among while it is built."""
        return self.options.get("efConstruction", _EF_CONSTRUCTION)

    def lists(self, passages: int) -> int:
        """Of IVF; a wish for more than a segment can fill gets as many as it can."""
        wanted = self.options.get("nlist", min(round(4 * math.sqrt(passages)), _MOST_LISTS))
        return max(1, min(wanted, passages // _PASSAGES_A_LIST))
