"""Dense indexes on the disk: they come back as they were made, mapped and shared, and damage of any byte is found."""

import gc
import os

import faiss
import numpy as np
import pytest
from small_index import Process

from m3search.errors import CorruptionError, StorageError
from m3search.storage import DenseIndex, DenseSettings
from m3search.storage.codec import checksum
from m3search.storage.dense_index import open_dense_index
from m3search.storage.dense_index_writer import write_dense_index
from m3search.storage.directory import Directory
from m3search.storage.manifest import FileInfo

KINDS = ["hnsw", "ivf"]
NAME = "0123.faiss"


def vectors(count=500, dim=12, seed=0):
    """Unit vectors around some centers."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(20, dim))[rng.integers(0, 20, count)] + 0.4 * rng.normal(size=(count, dim))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def written(path, kind, made, **options):
    directory = Directory(path)
    return directory, *write_dense_index(directory, NAME, made, 1.0, DenseSettings.of(kind, options), 1)


def put(path, data):
    """A file with these bytes, as a manifest would name it."""
    path.mkdir(exist_ok=True)
    (path / NAME).write_bytes(data)
    return Directory(path), FileInfo(len(data), checksum(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 500])
def test_it_is_what_was_made_and_finds_what_is_there(tmp_path, kind, count):
    made = vectors(count)
    directory, info, statistics = written(tmp_path, kind, made)
    assert info == FileInfo((tmp_path / NAME).stat().st_size, checksum((tmp_path / NAME).read_bytes()))
    opened = open_dense_index(directory, NAME, info, count, 12)
    assert (opened.kind, opened.passages, opened.dim, len(opened.data)) == (kind, count, 12, info.size)
    assert 0.95 <= statistics["dense_recall_100"] <= 1
    query = vectors(1, seed=7)[0]
    found = opened.nearest(query, count, 1000)
    assert sorted(found.tolist()) == list(range(count))
    scores = made[found] @ query
    assert (np.diff(scores) < 0.05).all(), "not the best first, but for what 8 bits err"


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_the_bitmap_has_is_found(tmp_path, kind):
    made = vectors()
    directory, info, _ = written(tmp_path, kind, made)
    opened = open_dense_index(directory, NAME, info, 500, 12)
    mask = np.random.default_rng(1).random(500) < 0.3
    found = opened.nearest(vectors(1, seed=7)[0], 40, 1000, np.packbits(mask, bitorder="little"))
    assert len(set(found.tolist())) == 40
    assert mask[found].all()
    assert len(opened.nearest(vectors(1, seed=7)[0], 40, 1000, np.zeros(63, np.uint8))) == 0


def test_a_search_that_ends_early_gives_fewer_and_no_holes(tmp_path):
    directory, info, _ = written(tmp_path, "ivf", vectors(), nlist=25)
    found = open_dense_index(directory, NAME, info, 500, 12).nearest(vectors(1, seed=7)[0], 400, 1)
    assert 1 <= len(found) < 400
    assert found.min() >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_options_say_is_made(tmp_path, kind):
    if kind == "hnsw":
        directory, info, _ = written(tmp_path, kind, vectors(), M=7, efConstruction=33)
        found = open_dense_index(directory, NAME, info, 500, 12).faiss
        assert (found.hnsw.nb_neighbors(1), found.hnsw.nb_neighbors(0), found.hnsw.efConstruction) == (7, 14, 33)
    else:
        directory, info, _ = written(tmp_path, kind, vectors(), nlist=9)
        assert open_dense_index(directory, NAME, info, 500, 12).faiss.nlist == 9


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_makes_the_same_bytes_again(tmp_path, kind):
    assert written(tmp_path / "a", kind, vectors())[1:] == written(tmp_path / "b", kind, vectors())[1:]


def test_threads_are_put_back_and_chunks_and_samples_change_no_size(tmp_path, monkeypatch):
    before = faiss.omp_get_max_threads()
    whole = write_dense_index(Directory(tmp_path / "a"), NAME, vectors(), 1.0, DenseSettings.of("hnsw"), 2)
    assert faiss.omp_get_max_threads() == before
    monkeypatch.setattr("m3search.storage.dense_index_writer._CHUNK_BYTES", 48 * 7)
    monkeypatch.setattr("m3search.storage.dense_index_writer._SAMPLE_BYTES", 48 * 30)
    monkeypatch.setattr("m3search.storage.dense_index_writer._BUFFER_BYTES", 100)
    chunked = written(tmp_path / "b", "hnsw", vectors())
    assert chunked[1].size == whole[0].size
    opened = open_dense_index(chunked[0], NAME, chunked[1], 500, 12)
    assert sorted(opened.nearest(vectors(1, seed=7)[0], 500, 1000).tolist()) == list(range(500))


@pytest.mark.parametrize(("kind", "norm"), [("flat", 1.0), ("auto", 1.0), ("hnsw", 1e30), ("ivf", np.inf)])
def test_there_is_none_where_none_is_wanted_or_float32_would_not_hold_its_products(tmp_path, kind, norm):
    assert write_dense_index(Directory(tmp_path), NAME, vectors(), norm, DenseSettings.of(kind)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_is_open_is_shared_and_goes_with_its_last_user(tmp_path, kind):
    directory, info, _ = written(tmp_path, kind, vectors())
    first = open_dense_index(directory, NAME, info, 500, 12)
    assert open_dense_index(Directory(tmp_path / ".." / tmp_path.name), NAME, info, 500, 12) is first
    assert open_dense_index(directory, NAME, info, 500, 12, verify=True) is first
    query, known = vectors(1, seed=7)[0], id(first)
    expected = first.nearest(query, 9, 100).tolist()
    del first
    gc.collect()
    again = open_dense_index(directory, NAME, info, 500, 12)
    assert again._index is None, f"{known} is still there"
    (tmp_path / NAME).unlink()  # mapped: what is open can be searched on
    assert again.nearest(query, 9, 100).tolist() == expected


def test_a_graph_is_searched_where_it_is_mapped(tmp_path):
    directory, info, _ = written(tmp_path, "hnsw", vectors())
    opened = open_dense_index(directory, NAME, info, 500, 12)
    start = np.frombuffer(opened.data, np.uint8).ctypes.data
    codes = faiss.downcast_index(opened.faiss.storage).codes
    assert start < int(codes.data()) < start + info.size


# -- damage --


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_anywhere_is_found(tmp_path, kind):
    _, info, _ = written(tmp_path / "good", kind, vectors(60, 4))
    data = (tmp_path / "good" / NAME).read_bytes()
    for place in {*range(0, len(data), 97), len(data) - 1}:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        directory, _ = put(tmp_path / "bad", bytes(damaged))
        with pytest.raises(CorruptionError, match=f"{NAME} does not match its checksum: restore the index"):
            open_dense_index(directory, NAME, info, 60, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_length_is_found(tmp_path, kind):
    directory, info, _ = written(tmp_path, kind, vectors(60, 4))
    data = (tmp_path / NAME).read_bytes()
    for other in (data[:-1], data[: len(data) // 2], data[:3], b"", data + b"\0"):
        (tmp_path / NAME).write_bytes(other)
        with pytest.raises(CorruptionError, match=f"has {len(other):,} bytes, should have {len(data):,}"):
            open_dense_index(directory, NAME, info, 60, 4)
    (tmp_path / NAME).unlink()
    with pytest.raises(FileNotFoundError):
        open_dense_index(directory, NAME, info, 60, 4)


def test_damage_is_found_in_an_index_that_is_open_when_every_byte_is_to_be_checked(tmp_path):
    directory, info, _ = written(tmp_path, "hnsw", vectors(60, 4))
    opened = open_dense_index(directory, NAME, info, 60, 4)
    data = bytearray((tmp_path / NAME).read_bytes())
    data[-9] ^= 1
    (tmp_path / "other").write_bytes(data)
    (tmp_path / "other").rename(tmp_path / NAME)
    assert open_dense_index(directory, NAME, info, 60, 4) is opened
    with pytest.raises(CorruptionError, match="does not match its checksum"):
        open_dense_index(directory, NAME, info, 60, 4, verify=True)


@pytest.mark.parametrize(
    "factory", ["Flat", "HNSW8,Flat", "SQ8", "IVF4,Flat", "IVF4,PQ2", "PCA2,Flat", "IDMap,Flat", "NSG8,Flat"]
)
def test_another_class_is_refused_before_faiss_sees_it(tmp_path, factory):
    index = faiss.index_factory(4, factory, faiss.METRIC_INNER_PRODUCT)
    for part in (index, getattr(index, "quantizer", None)):
        if hasattr(part, "cp"):
            part.cp.min_points_per_centroid = 1
    made = vectors(300, 4)
    index.train(made)
    index.add_with_ids(made, np.arange(300)) if "IDMap" in factory else index.add(made)
    directory, info = put(tmp_path / "i", faiss.serialize_index(index).tobytes())
    with pytest.raises(CorruptionError, match=f"{NAME} is no HNSW or IVF index: restore the index or build it again"):
        open_dense_index(directory, NAME, info, 300, 4)


@pytest.mark.parametrize(
    ("factory", "metric", "passages", "dim"),
    [
        ("HNSW8,SQ8", faiss.METRIC_L2, 300, 4),
        ("IVF4,SQ8", faiss.METRIC_L2, 300, 4),
        ("HNSW8,SQ8", faiss.METRIC_INNER_PRODUCT, 301, 4),
        ("IVF4,SQ8", faiss.METRIC_INNER_PRODUCT, 299, 4),
        ("HNSW8,SQ8", faiss.METRIC_INNER_PRODUCT, 300, 5),
        ("IVF4,SQ8", faiss.METRIC_INNER_PRODUCT, 300, 3),
        ("HNSW8,SQ4", faiss.METRIC_INNER_PRODUCT, 300, 4),
        ("IVF4,SQfp16", faiss.METRIC_INNER_PRODUCT, 300, 4),
        ("IVF4_HNSW8,SQ8", faiss.METRIC_INNER_PRODUCT, 300, 4),
    ],
)
def test_an_index_of_something_else_is_refused(tmp_path, factory, metric, passages, dim):
    index = faiss.index_factory(4, factory, metric)
    if hasattr(index, "cp"):
        index.cp.min_points_per_centroid = 1
    index.train(vectors(300, 4))
    index.add(vectors(300, 4))
    directory, info = put(tmp_path / "i", faiss.serialize_index(index).tobytes())
    opened = open_dense_index(directory, NAME, info, passages, dim)
    with pytest.raises(CorruptionError, match=f"{NAME} is not the .* index of {passages} vectors of width {dim}"):
        opened.nearest(np.ones(dim, np.float32), 3, 10)
    del opened
    with pytest.raises(CorruptionError, match="is not the"):
        open_dense_index(directory, NAME, info, passages, dim, verify=True)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_faiss_cannot_read_are_refused(tmp_path, kind):
    written(tmp_path / "good", kind, vectors(60, 4))
    data = (tmp_path / "good" / NAME).read_bytes()
    for length in (4, 5, 20, 100, len(data) // 2, len(data) - 9):
        directory, info = put(tmp_path / "bad", data[:length])
        with pytest.raises(CorruptionError, match=f"cannot read {NAME}: build the index again, or upgrade faiss-cpu"):
            _ = open_dense_index(directory, NAME, info, 60, 4).faiss


# -- a disk that refuses --

FULL = """
import resource, signal
import numpy as np
from pathlib import Path
from m3search import Document, Encodings, Index, errors
from small_index import garbage

resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))  # Python ignores the signal, write raises
made = np.random.default_rng(0).normal(size=(6000, 2)).astype(np.float32)
made /= np.linalg.norm(made, axis=1, keepdims=True)
documents = [Document(str(number), "") for number in range(6000)]
settings = dict(encoder=None, bm25=False, encodings=Encodings(dense=made), progress=False, threads=1)
path, kind = Path(sys.argv[1]), sys.argv[2]
try:
    Index.build(documents, path / "new", dense=kind, dense_options={"M": 128, "efConstruction": 16}, **settings)
except errors.StorageError as error:
    print(str(error).replace(str(path), "PATH"))
print((path / "new").exists())
small = {**settings, "encodings": Encodings(dense=made[:50])}
Index.build(documents[:50], path / "old", dense=kind, **small).close()
try:
    Index.build(documents, path / "old", dense=kind, dense_options={"M": 128, "efConstruction": 16}, overwrite=True, **settings)
except errors.StorageError as error:
    print(str(error).startswith("cannot write"))
with Index.open(path / "old", verify=True) as index:
    print(len(index), index.info()["dense"]["kind"])
print(garbage(path / "old"))
"""


@pytest.mark.skipif(os.name == "nt", reason="this system has no limit on the size of files")
def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path):
    with Process(FULL, tmp_path, "hnsw") as process:
        code, out = process.end()
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("cannot write PATH/new/segments/")
    assert ".faiss: File too large; make room and try again" in lines[0]
    assert lines[1:] == ["False", "True", "50 hnsw", "set()"]


def test_what_the_writer_raises_comes_out_and_the_file_goes(tmp_path, monkeypatch):
    class Full(Directory):
        def create(self, name):
            file = super().create(name)
            write, left = file.write, [3000]

            def limited(data):
                left[0] -= len(data)
                if left[0] < 0:
                    raise StorageError("no room")
                write(data)

            monkeypatch.setattr(file, "write", limited)
            return file

    with pytest.raises(StorageError, match="no room"):
        write_dense_index(Full(tmp_path / "i"), NAME, vectors(), 1.0, DenseSettings.of("hnsw"))
    assert list((tmp_path / "i").iterdir()) == []


def test_one_that_is_in_memory_needs_no_file():
    index = faiss.IndexHNSWSQ(4, faiss.ScalarQuantizer.QT_8bit, 8, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors(30, 4))
    index.add(vectors(30, 4))
    made = DenseIndex.made("hnsw", index)
    assert sorted(made.nearest(vectors(1, 4)[0], 30, 100).tolist()) == list(range(30))
