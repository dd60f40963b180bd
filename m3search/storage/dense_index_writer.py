"""DenseIndexWriter: makes the approximate index of a segment's vectors and brings it to the disk.

Imports the index's reader, its recall and the directory. A segment that is written calls it, and so may whatever makes one
segment of several. Invariant: the vectors are read in chunks from where they lie, so what memory it takes is the index itself
and a sample; every byte goes through the directory's checked writer, because FAISS's own returns normally on a full disk.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.storage.dense_index import DenseIndex
from m3search.storage.dense_recall import measured
from m3search.storage.manifest import FileInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from m3search.storage.dense_settings import DenseSettings
    from m3search.storage.directory import Directory

_SAMPLE_BYTES = 2**28
_SAMPLE_OF_RANGES = 100_000  # what FAISS itself looks at for the smallest and largest value of each dimension
_SAMPLE_A_LIST = 50
_CHUNK_BYTES = 2**24
_BUFFER_BYTES = 2**20
_LARGEST_NORM = 2.0**40  # products of longer vectors could leave float32, and no graph is built of infinities
_SEED = 7


def write_dense_index(
    directory: Directory,
    name: str,
    vectors: NDArray[np.float32],
    norm: float,
    settings: DenseSettings,
    threads: int | None = None,
) -> tuple[FileInfo, dict[str, float]] | None:
    """Make the index that the settings want for so many vectors: its file, and what was measured of it.

    Args:
        directory: where it is published.
        name: of the file.
        vectors: f32[n, dim], which may be mapped.
        norm: no vector is longer.
        settings: see `DenseSettings`.
        threads: None: as many as OpenMP takes. With 1, the same vectors give the same index.

    Returns:
        None where the segment is to be searched exhaustively: the settings want that, or the vectors are too long for float32.

    Raises:
        StorageError: the disk is full or failing.
    """
    kind = settings.kind_of(len(vectors))
    if kind == "flat" or not norm <= _LARGEST_NORM:
        return None
    with _threads(threads):
        made = DenseIndex.made(kind, _hnsw(vectors, settings) if kind == "hnsw" else _ivf(vectors, settings))
        statistics = measured(made, vectors)
    return _published(directory, name, made), statistics


def _hnsw(vectors: NDArray[np.float32], settings: DenseSettings) -> Any:  # noqa: ANN401 - FAISS is untyped
    import faiss

    index = faiss.IndexHNSWSQ(
        vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, settings.links, faiss.METRIC_INNER_PRODUCT
    )
    index.hnsw.efConstruction = settings.ef_construction
    index.train(_sample(vectors, _SAMPLE_OF_RANGES))
    _add(index, vectors)
    return index


def _ivf(vectors: NDArray[np.float32], settings: DenseSettings) -> Any:  # noqa: ANN401 - FAISS is untyped
    import faiss

    dim, lists = vectors.shape[1], settings.lists(len(vectors))
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = 1  # no warning on standard error: a small sample is what there is
    index.train(_sample(vectors, max(_SAMPLE_A_LIST * lists, 1000)))
    _add(index, vectors)
    return index


def _sample(vectors: NDArray[np.float32], wanted: int) -> NDArray[np.float32]:
    """Some rows, the same ones every time, within `_SAMPLE_BYTES`."""
    count = min(wanted, len(vectors), max(1, _SAMPLE_BYTES // (4 * vectors.shape[1])))
    rows = np.sort(np.random.default_rng(_SEED).choice(len(vectors), count, replace=False))
    return np.ascontiguousarray(vectors[rows])


def _add(index: Any, vectors: NDArray[np.float32]) -> None:  # noqa: ANN401 - FAISS is untyped
    rows = max(1, _CHUNK_BYTES // (4 * vectors.shape[1]))
    for start in range(0, len(vectors), rows):
        index.add(vectors[start : start + rows])


def _published(directory: Directory, name: str, made: DenseIndex) -> FileInfo:
    import faiss

    with directory.create(name) as file:

        def write(data: bytes) -> int:
            file.write(data)  # what it raises comes out of write_index
            return len(data)

        faiss.write_index(made.faiss, faiss.PyCallbackIOWriter(write, _BUFFER_BYTES))
        return FileInfo(*file.publish())


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """OpenMP's threads for what this thread starts, put back after: nobody else's work changes its speed."""
    import faiss

    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
