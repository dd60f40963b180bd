"""Peer and Engine: what takes part in the benchmark.

A peer builds an index in a folder and opens it; what it opens is one or more engines, ways of answering a hybrid query, each of
which can be asked with several settings. Only `Engine.search` is timed: whatever a user would do once for a query in the peer's
own types is `prepare`, and reading ids out of the peer's own types is `answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hybrid.collection import Collection, Query

BLEND, ZERO_FILL, FUSION = "blend", "zero-fill", "fusion"
"""How an engine joins both sides: every candidate has both scores; a side that did not find it counts 0; ranks, or scores that
are normalised by what one query found, are joined instead of scores."""

Setting = Mapping[str, int]
"""Name -> value; empty: as the engine is by itself."""


class Engine(Protocol):
    """One way of answering, of one thread.

    Attributes:
        name: in tables.
        kind: `BLEND`, `ZERO_FILL` or `FUSION`.
        settings: what it may be asked with; one at least.
    """

    name: str
    kind: str
    settings: Sequence[Setting]

    def prepare(self, query: Query, setting: Setting) -> Any:
        """The query in the engine's own types; not timed."""
        ...

    def search(self, prepared: Any) -> Any:
        """The best `K` with their scores, in the engine's own types; timed."""
        ...

    def answer(self, found: Any) -> NDArray[np.int64]:
        """Documents, best first; not timed."""
        ...

    def account(self, found: Any) -> Mapping[str, Any]:
        """What the engine itself says of an answer: "guarantee", "overhead_ms", steps; empty where it says nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """An index that is open.

    Attributes:
        engines: ready to be asked.
        bytes: of all files that answering needs.
        notes: name -> value, for the report.
        close: gives everything back, threads too, before the next collection.
    """

    engines: Sequence[Engine]
    bytes: int
    notes: dict[str, Any] = field(default_factory=dict)
    close: Callable[[], object] = lambda: None


class Peer(Protocol):
    """What can be built and opened.

    Attributes:
        name: on the command line, and of its folder.
        kept: whether an index of an earlier run may be opened instead of built again.
        modules: that are imported before its memory is measured, since they are no part of its index.
    """

    name: str
    kept: bool
    modules: Sequence[str]

    def version(self) -> str:
        """Of the package that does the work.

        Raises:
            UnavailableError: it is not installed.
        """
        ...

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Builds into an empty folder; gives what is to be remembered of the build, such as its settings.

        "aside_s" among it is CPU time that did not go into the index.

        Raises:
            UnavailableError: this peer cannot hold such a collection.
        """
        ...

    def open(self, collection: Collection, folder: Path) -> Opened:
        """Opens what was built."""
        ...


def label(setting: Setting) -> str:
    """A setting as text."""
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or "as it is"
