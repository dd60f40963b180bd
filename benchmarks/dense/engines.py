"""Engines: exhaustive search, ours, hnswlib and usearch, each built once and asked with several efforts.

What a user would do once for a query, such as setting the effort, is `prepare`; only `Engine.search` is timed.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dense.collection import Collection, K
from m3search import Document, Encodings, Index
from m3search import __version__ as version
from m3search.retrieval import ALL, Query
from m3search.storage import Environment, Snapshot

GRAPH_EFFORTS = (10, 14, 20, 28, 40, 56, 80, 112, 160)
LIST_EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128)
EF_CONSTRUCTION = 200
_BATCH = 10_000


class UnavailableError(Exception):
    """An engine cannot take part; the text is the reason that stands in the table."""


class Engine(Protocol):
    """One index, of one thread.

    Attributes:
        name: in tables and on the command line.
        efforts: that it is asked with; empty where there is nothing to set.
    """

    name: str
    efforts: Sequence[int]

    def version(self) -> str:
        """Of the package that does the work.

        Raises:
            UnavailableError: it is not installed.
        """
        ...

    def build(self, collection: Collection, folder: Path) -> None:
        """Builds into an empty folder."""
        ...

    def open(self, collection: Collection, folder: Path) -> int:
        """Opens what was built: bytes of the index, without the vectors where it does not hold them itself."""
        ...

    def prepare(self, query: NDArray[np.float32], effort: int) -> Any:
        """Not timed."""
        ...

    def search(self, prepared: Any) -> Any:
        """The best `K`; timed."""
        ...

    def answer(self, found: Any) -> NDArray[np.int64]:
        """Passages, not timed."""
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


@dataclass(slots=True)
class Flat:
    """FAISS's exhaustive search over vectors in memory."""

    name: str = "flat"
    efforts: Sequence[int] = (0,)
    _index: Any = None

    def version(self) -> str:
        """Of FAISS."""
        return installed("faiss-cpu")

    def build(self, collection: Collection, folder: Path) -> None:
        """There is nothing to build."""

    def open(self, collection: Collection, folder: Path) -> int:
        """The vectors themselves."""
        import faiss

        del folder

        self._index = faiss.IndexFlatIP(collection.vectors.shape[1])
        for start in range(0, len(collection), _BATCH):
            self._index.add(np.ascontiguousarray(collection.vectors[start : start + _BATCH]))
        return collection.vectors.nbytes

    def prepare(self, query: NDArray[np.float32], effort: int) -> Any:
        """A matrix of one row."""
        del effort
        return query[None]

    def search(self, prepared: Any) -> Any:
        """Scores and ids."""
        return self._index.search(prepared, K)

    def answer(self, found: Any) -> NDArray[np.int64]:
        """The ids."""
        return found[1][0]


@dataclass(slots=True)
class Ours:
    """m3search's dense leg over one segment, as the planner calls it."""

    kind: str
    options: dict[str, int] = field(default_factory=dict)
    efforts: Sequence[int] = ()
    name: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    snapshot: Any = None
    _allowed: Any = None

    def __post_init__(self) -> None:
        settings = "".join(f", {name}={value}" for name, value in self.options.items())
        self.name = self.name or f"m3search {self.kind}{settings}"
        self.efforts = self.efforts or (GRAPH_EFFORTS if self.kind == "hnsw" else LIST_EFFORTS)

    def version(self) -> str:
        """Of m3search."""
        return version

    def build(self, collection: Collection, folder: Path) -> None:
        """One segment; documents are as small as they can be."""
        batches = (
            Encodings(dense=np.array(collection.vectors[start : start + _BATCH]))
            for start in range(0, len(collection), _BATCH)
        )
        Index.build(
            (Document(str(number), "") for number in range(len(collection))),
            folder,
            encoder=None,
            bm25=False,
            encodings=batches,
            segment_size=len(collection),
            dense=self.kind,
            dense_options=self.options,
            threads=1,
            progress=False,
        ).close()

    def open(self, collection: Collection, folder: Path) -> int:
        """The file of the index; exact scores come from the stored vectors, which are counted aside."""
        del collection
        started = time.process_time()
        with Index.open(folder) as index:
            opened = time.process_time() - started  # most of it to compare the checksum of the index
            self.notes = {**index.info()["dense"], "open_seconds": opened}
        self.snapshot = Snapshot.latest(Environment.open(folder / "store"), folder)
        self._allowed = self.snapshot.allowed(None)
        assert len(self.snapshot.segments) == 1
        return int(self.snapshot.segments[0].info.files["faiss"].size)

    def prepare(self, query: NDArray[np.float32], effort: int) -> Any:
        """As the encoder's output becomes a query."""
        return Query.of(Encodings(dense=query[None]), None, effort)

    def search(self, prepared: Any) -> Any:
        """Candidates."""
        return ALL["dense"].search(prepared, self.snapshot, self._allowed, K)

    def answer(self, found: Any) -> NDArray[np.int64]:
        """Their docids, which count from 0 in one segment."""
        return found.docids


@dataclass(slots=True)
class HnswLib:
    """hnswlib over float32 vectors, which its index holds."""

    links: int = 16
    name: str = ""
    efforts: Sequence[int] = GRAPH_EFFORTS
    _index: Any = None

    def __post_init__(self) -> None:
        self.name = self.name or f"hnswlib M={self.links}"

    def version(self) -> str:
        """Of hnswlib."""
        return installed("hnswlib")

    def build(self, collection: Collection, folder: Path) -> None:
        """By one thread."""
        import hnswlib

        index = hnswlib.Index("ip", collection.vectors.shape[1])
        index.init_index(len(collection), M=self.links, ef_construction=EF_CONSTRUCTION, random_seed=1)
        for start in range(0, len(collection), _BATCH):
            index.add_items(np.array(collection.vectors[start : start + _BATCH]), num_threads=1)
        index.save_index(str(folder / "index.hnswlib"))

    def open(self, collection: Collection, folder: Path) -> int:
        """All in memory."""
        import hnswlib

        self._index = hnswlib.Index("ip", collection.vectors.shape[1])
        self._index.load_index(str(folder / "index.hnswlib"))
        self._index.set_num_threads(1)
        return (folder / "index.hnswlib").stat().st_size

    def prepare(self, query: NDArray[np.float32], effort: int) -> Any:
        """The effort belongs to the index."""
        self._index.set_ef(effort)
        return query[None]

    def search(self, prepared: Any) -> Any:
        """Ids and distances."""
        return self._index.knn_query(prepared, K, num_threads=1)

    def answer(self, found: Any) -> NDArray[np.int64]:
        """The ids."""
        return found[0][0].astype(np.int64)


@dataclass(slots=True)
class USearch:
    """usearch, with vectors as float32 or as 8 bits, which its index holds."""

    dtype: str = "f32"
    links: int = 16
    name: str = ""
    efforts: Sequence[int] = GRAPH_EFFORTS
    _index: Any = None

    def __post_init__(self) -> None:
        self.name = self.name or f"usearch {self.dtype}, M={self.links}"

    def version(self) -> str:
        """Of usearch."""
        return installed("usearch")

    def build(self, collection: Collection, folder: Path) -> None:
        """By one thread."""
        from usearch.index import Index as USearchIndex

        index = USearchIndex(
            ndim=collection.vectors.shape[1],
            metric="ip",
            dtype=self.dtype,
            connectivity=self.links,
            expansion_add=EF_CONSTRUCTION,
        )
        for start in range(0, len(collection), _BATCH):
            block = np.array(collection.vectors[start : start + _BATCH])
            index.add(np.arange(start, start + len(block)), block, threads=1)
        index.save(str(folder / "index.usearch"))

    def open(self, collection: Collection, folder: Path) -> int:
        """All in memory."""
        from usearch.index import Index as USearchIndex

        del collection

        self._index = USearchIndex.restore(str(folder / "index.usearch"))
        return (folder / "index.usearch").stat().st_size

    def prepare(self, query: NDArray[np.float32], effort: int) -> Any:
        """The effort belongs to the index."""
        self._index.expansion_search = effort
        return query

    def search(self, prepared: Any) -> Any:
        """Matches."""
        return self._index.search(prepared, K, threads=1)

    def answer(self, found: Any) -> NDArray[np.int64]:
        """Their keys."""
        return found.keys.astype(np.int64)


ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (Flat(), Ours("hnsw"), Ours("ivf"), HnswLib(), USearch("f32"), USearch("i8"))
}
"""Every engine by name; "m3search hnsw" and "m3search ivf" have the settings that a build has without options."""
