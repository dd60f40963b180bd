"""QueryCache: the encodings of the last queries.

Imports records. Invariant: what is handed out is a copy, so nobody changes what the next one gets.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from m3search.records import Encodings

if TYPE_CHECKING:
    from collections.abc import Callable

    from m3search.encoder.runner import Outputs

SIZE = 128
LONGEST = 1000
"""Characters of a query that is kept: token vectors of a long one are large."""


class QueryCache:
    """Encodings by query and outputs, the ones used last; safe to use from several threads."""

    def __init__(self, size: int = SIZE) -> None:
        """Keeps up to `size` queries."""
        self._size = size
        self._kept: OrderedDict[tuple[str, Outputs], Encodings] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, outputs: Outputs, encode: Callable[[], Encodings]) -> Encodings:
        """The encodings of a query, made only if they are not there.

        Args:
            text: the query.
            outputs: what is asked for.
            encode: makes them.
        """
        key = (text, outputs)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        if found is not None:
            return _copy(found)
        found = encode()
        if len(text) <= LONGEST:
            with self._lock:
                self._kept[key] = _copy(found)
                while len(self._kept) > self._size:
                    self._kept.popitem(last=False)
        return found


def _copy(encodings: Encodings) -> Encodings:
    return Encodings(
        dense=None if encodings.dense is None else encodings.dense.copy(),
        lexical=None if encodings.lexical is None else encodings.lexical.copy(),
        colbert=None if encodings.colbert is None else [vectors.copy() for vectors in encodings.colbert],
        token=encodings.token,
    )
