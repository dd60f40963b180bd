"""SeenIds: which ids a build has taken, in 16 bytes each.

Imports storage's hash of an id. Invariant: an id is new once.
"""

from __future__ import annotations

import numpy as np

from m3search.storage import id_hash

_RECENT = 65_536


class SeenIds:
    """A set of ids: recent ones in a set, older ones in sorted arrays that are merged when two are alike in size."""

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._levels: list[np.ndarray[tuple[int], np.dtype[np.bytes_]]] = []

    def add(self, identifier: str) -> bool:
        """Take an id; False where it was taken before."""
        digest = id_hash(identifier.encode())
        if digest in self._recent or any(self._in(level, digest) for level in self._levels):
            return False
        self._recent.add(digest)
        if len(self._recent) >= _RECENT:
            self._settle()
        return True

    @staticmethod
    def _in(level: np.ndarray[tuple[int], np.dtype[np.bytes_]], digest: bytes) -> bool:
        wanted = np.array(digest, level.dtype)
        place = int(np.searchsorted(level, wanted))
        return place < len(level) and bool(level[place] == wanted)

    def _settle(self) -> None:
        level = np.sort(np.array(list(self._recent), "S16"))
        self._recent.clear()
        while self._levels and len(self._levels[-1]) <= len(level):
            level = np.sort(np.concatenate([self._levels.pop(), level]))
        self._levels.append(level)
