"""DenseIndex: the approximate index of a segment's dense vectors, read-only.

Owns the file ``<uuid>.faiss``: HNSW or IVF over codes of 8 bits a dimension, in FAISS's own format. Imports the manifest's
errors and FAISS, when it is first asked. Invariant: FAISS parses only bytes whose checksum was checked, because it follows
what stands in them; nothing is ever added to an index that was read. It proposes passages and knows no score.
"""

from __future__ import annotations

import threading
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.errors import CorruptionError
from m3search.storage.codec import checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.directory import Directory
    from m3search.storage.manifest import FileInfo

FAISS_SUFFIX = "faiss"
_MAGIC = {b"IHNs": "hnsw", b"IwSq": "ivf"}  # of FAISS's classes IndexHNSWSQ and IndexIVFScalarQuantizer
_MOST_LINKS = 256  # of a passage: twice the largest M
_opened: weakref.WeakValueDictionary[tuple[str, str, bytes], DenseIndex]
_opening = threading.Lock()


class Graph(NamedTuple):
    """An HNSW index's arrays; from a passage's offset on lie `lowest` links of level 0, then `links` of every higher level.

    Attributes:
        codes: u8[n * dim].
        neighbours: i32, passages; below 0 where there is none.
        offsets: i64[n + 1].
        scale: f32[dim], what a step of a code is worth.
        entry: the passage to begin at.
        levels: above the lowest.
        lowest: links of a passage on the lowest level.
        links: on the others.
    """

    codes: NDArray[np.uint8]
    neighbours: NDArray[np.int32]
    offsets: NDArray[np.int64]
    scale: NDArray[np.float32]
    entry: int
    levels: int
    lowest: int
    links: int


class DenseIndex:
    """Proposes the passages that are likely to score best.

    Attributes:
        kind: "hnsw" or "ivf".
        passages: how many it holds.
        dim: width of the vectors.
        data: the whole mapped file; empty for one that was just made.
        name: of the file, for messages.
        addresses: what the loops of retrieval keep of where the graph lies.
    """

    def __init__(self, kind: str, passages: int, dim: int, data: memoryview, name: str) -> None:
        self.kind = kind
        self.passages = passages
        self.dim = dim
        self.data = data
        self.name = name
        self.addresses: NDArray[np.int64] | None = None
        self._reading = threading.Lock()
        self._index: Any = None

    @classmethod
    def made(cls, kind: str, index: Any) -> DenseIndex:  # noqa: ANN401 - FAISS is untyped
        """Around a FAISS index that is in memory."""
        made = cls(kind, int(index.ntotal), int(index.d), memoryview(b""), "a new index")
        made._index = index
        return made

    @property
    def faiss(self) -> Any:  # noqa: ANN401 - FAISS is untyped
        """FAISS's own object over the mapped file, parsed at first use; its large arrays stay where they are.

        Raises:
            CorruptionError: it is not the index that this segment needs, or FAISS cannot read it.
        """
        if self._index is None:
            with self._reading:
                if self._index is None:
                    self._index = _parsed(self)
        return self._index

    @cached_property
    def graph(self) -> Graph:
        """The arrays of an HNSW index, as views."""
        import faiss

        hnsw, storage = self.faiss.hnsw, faiss.downcast_index(self.faiss.storage)

        def view(vector: Any) -> NDArray[Any]:  # noqa: ANN401 - FAISS is untyped
            return np.asarray(faiss.rev_swig_ptr(vector.data(), vector.size()))

        ranges = faiss.vector_to_array(storage.sq.trained)[self.dim :]  # after the smallest values the differences
        return Graph(
            codes=view(storage.codes),
            neighbours=view(hnsw.neighbors),
            offsets=view(hnsw.offsets).view(np.int64),
            scale=(ranges / 255).astype(np.float32),
            entry=int(hnsw.entry_point),
            levels=int(hnsw.max_level),
            lowest=int(hnsw.nb_neighbors(0)),
            links=int(hnsw.nb_neighbors(1)),
        )

    @cached_property
    def fan_out(self) -> int:
        """Links of a passage on a middle level of HNSW's graph; IVF's number of lists."""
        return int(self.faiss.hnsw.nb_neighbors(1) if self.kind == "hnsw" else self.faiss.nlist)

    def limited(self, effort: int, count: int) -> int:
        """The effort that a search for `count` passages takes: IVF has so many lists, HNSW keeps what is asked for in view."""
        return min(effort, self.fan_out) if self.kind == "ivf" else min(max(effort, count), max(self.passages, count))

    def nearest(
        self, vector: NDArray[np.float32], count: int, effort: int, bitmap: NDArray[np.uint8] | None = None
    ) -> NDArray[np.int64]:
        """Passages i64[<= count], the likely best first; fewer where the search ended before it had found as many.

        Args:
            vector: f32[dim].
            count: how many are wanted.
            effort: nprobe (lists that are looked through) or efSearch (how many passages the walk keeps in view).
            bitmap: packed, least significant bit first: the passages that may be found; None: all.
        """
        import faiss

        pointer, index = faiss.swig_ptr, self.faiss
        scores, rows = np.empty(count, np.float32), np.empty(count, np.int64)
        effort = self.limited(effort, count)
        if bitmap is None:
            kept = _kept.parameters.get(self.kind)
            if kept is None or kept[0] != effort:
                kept = _kept.parameters[self.kind] = (effort, _parameters(self.kind, effort))
            parameters = kept[1]
        else:
            parameters = _parameters(self.kind, effort)
            parameters.sel = selector = faiss.IDSelectorBitmap(len(bitmap), pointer(bitmap))
            assert selector is not None  # FAISS keeps a pointer to it only
        index.search_c(1, pointer(vector), count, pointer(scores), pointer(rows), parameters)
        return rows if rows[-1] >= 0 else rows[rows >= 0]


def open_dense_index(
    directory: Directory, name: str, info: FileInfo, passages: int, dim: int, *, verify: bool = False
) -> DenseIndex:
    """The index in a published file; one that this process has open already is shared, for files never change.

    Args:
        directory: where it lies.
        name: of the file.
        info: size and checksum as the manifest has them.
        passages: how many it must hold.
        dim: width of the vectors.
        verify: check its bytes again where it is open already, and let FAISS read it now.

    Raises:
        FileNotFoundError: it is gone; a reader then looks for a newer manifest.
        CorruptionError: its bytes are not what was written, or it is no index of the expected kind.
    """
    key = (str(directory.path.resolve()), name, info.checksum)
    with _opening:
        found = _opened.get(key)
    if found is None or verify:
        data = directory.map(name, info.size)
        if checksum(data) != info.checksum:
            raise CorruptionError(
                f"{directory.path / name} does not match its checksum: restore the index or build it again"
            )
        kind = _MAGIC.get(bytes(data[:4]))
        if kind is None:
            raise CorruptionError(f"{name} is no HNSW or IVF index: restore the index or build it again")
        found = DenseIndex(kind, passages, dim, data, name)
        if verify:
            _ = found.faiss
        with _opening:
            found = _opened.setdefault(key, found)
    return found


class _Kept(threading.local):
    """What a thread hands to FAISS again: making parameters takes a third as long as a short search."""

    def __init__(self) -> None:
        self.parameters: dict[str, tuple[int, Any]] = {}


_kept = _Kept()


def _parameters(kind: str, effort: int) -> Any:  # noqa: ANN401 - FAISS is untyped
    import faiss

    parameters = faiss.SearchParametersHNSW() if kind == "hnsw" else faiss.SearchParametersIVF()
    setattr(parameters, "efSearch" if kind == "hnsw" else "nprobe", effort)
    return parameters


def _parsed(opened: DenseIndex) -> Any:  # noqa: ANN401 - FAISS is untyped
    import faiss

    source = np.frombuffer(opened.data, np.uint8)
    try:
        index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(source), len(source)))
    except RuntimeError as error:
        raise CorruptionError(
            f"FAISS {faiss.__version__} cannot read {opened.name}: build the index again, or upgrade faiss-cpu"
        ) from error
    if not _fits(index, opened):
        raise CorruptionError(
            f"{opened.name} is not the {opened.kind} index of {opened.passages:,} vectors of width {opened.dim} that "
            f"the manifest says: restore the index or build it again"
        )
    return index


def _fits(index: Any, opened: DenseIndex) -> bool:  # noqa: ANN401 - FAISS is untyped
    import faiss

    expected = {"hnsw": faiss.IndexHNSWSQ, "ivf": faiss.IndexIVFScalarQuantizer}[opened.kind]
    if type(index) is not expected or not index.is_trained or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        return False
    if (index.ntotal, index.d) != (opened.passages, opened.dim):
        return False
    codes = faiss.downcast_index(index.storage) if opened.kind == "hnsw" else index
    if opened.kind == "hnsw" and (
        type(codes) is not faiss.IndexScalarQuantizer or not _whole(index.hnsw, codes, opened)
    ):
        return False
    if opened.kind == "ivf" and type(faiss.downcast_index(index.quantizer)) not in (faiss.IndexFlat, faiss.IndexFlatIP):
        return False
    return bool(codes.sq.qtype == faiss.ScalarQuantizer.QT_8bit)


def _whole(hnsw: Any, codes: Any, opened: DenseIndex) -> bool:  # noqa: ANN401 - FAISS is untyped
    """Whether there is an offset and a code for every passage, and somewhere to begin."""
    sizes = (codes.ntotal, codes.codes.size(), hnsw.offsets.size(), hnsw.levels.size())
    passages = opened.passages
    return (
        sizes == (passages, passages * opened.dim, passages + 1, passages)
        and 0 <= hnsw.entry_point < passages
        and hnsw.nb_neighbors(0) <= _MOST_LINKS
    )


_opened = weakref.WeakValueDictionary()
