"""Source: something documents are read from, with an estimate of what is in it.

Imports record. Invariant: making a source reads nothing of it; going through it twice gives the same records, except
from standard input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from m3search.indexing.sources.record import Record


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much a source holds, for the estimate of time and disk before a long build.

    Attributes:
        documents: about how many; None where nothing can be said.
        size: about how many bytes, uncompressed; None where nothing can be said.
    """

    documents: int | None
    size: int | None

    @classmethod
    def total(cls, estimates: Iterable[Estimate]) -> Estimate:
        """The sum of several, unknown where one is."""
        documents, size = 0, 0
        for estimate in estimates:
            if estimate.documents is None or estimate.size is None:
                return cls(None, None)
            documents += estimate.documents
            size += estimate.size
        return cls(documents, size)


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source: iterate over it for its records.

    Attributes:
        name: as messages call it.
        kind: "jsonl", "csv", "tsv", "folder" or "parquet".
    """

    name: str
    kind: str
    _read: Callable[[], Iterator[Record]] = field(repr=False)
    _estimate: Callable[[], Estimate] = field(repr=False)

    def __iter__(self) -> Iterator[Record]:
        return self._read()

    def __length_hint__(self) -> int:
        """The estimated number of documents, for progress bars; 0 where nothing can be said."""
        return self._estimate().documents or 0

    def estimate(self) -> Estimate:
        """How much is in it, from its size and a sample: takes milliseconds, at worst a look at every file's size.

        Raises:
            SourceError: it cannot be read.
        """
        return self._estimate()
