"""Peer and Engine: what takes part in the benchmark.

A peer builds an index in a folder and opens it; what it opens is one or more engines, which are asked one query at a time. Only
`Engine.search` is timed: whatever a user would do once for a query in the peer's own types is `prepare`, and turning the peer's
own types into arrays is `answer`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Collection, Query
from lexical.truth import Truth


class UnavailableError(Exception):
    """A peer cannot take part; the text is the reason that stands in the table."""


class Engine(Protocol):
    """One way of answering, of one thread.

    Attributes:
        name: in tables.
    """

    name: str

    def prepare(self, query: Query) -> Any:
        """The query in the engine's own types; not timed."""
        ...

    def search(self, prepared: Any, k: int) -> Any:
        """The engine's own answer; timed."""
        ...

    def answer(self, found: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Documents i64[<= k] by falling score and their scores; not timed."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """An index that is open.

    Attributes:
        engines: ready to be asked.
        bytes: of the index: on disk where it has files, else of its arrays in memory; None: it is not of the whole collection.
        structure_bytes: of these, what a search walks through, without a store of the documents' own vectors; None: not
            told apart.
        notes: name -> value, for the report.
    """

    engines: Sequence[Engine]
    bytes: int | None
    structure_bytes: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Peer(Protocol):
    """What can be built and opened.

    Attributes:
        name: on the command line, and of its folder.
        kept: whether an index of an earlier run may be opened instead of built again.
    """

    name: str
    kept: bool

    def version(self) -> str:
        """Of the package that does the work.

        Raises:
            UnavailableError: it is not installed.
        """
        ...

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """Builds into an empty folder; gives what is to be remembered of the build, such as its settings.

        "aside_s" among it is CPU time that did not go into the index; "documents_alone_s" is what the same documents would have
        taken without weights.

        Raises:
            UnavailableError: this peer cannot hold such a collection.
        """
        ...

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """Opens what was built; `truth` knows the tuning queries too, for what has to be tuned at each k."""
        ...


def installed(package: str) -> str:
    """The version of a package.

    Raises:
        UnavailableError: it is not there.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise UnavailableError(f"not installed (pip install {package})") from error


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
