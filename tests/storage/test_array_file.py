"""Segment files: arrays come back, every damaged byte of what is not values is found, newer files are named as such."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3search.errors import CorruptionError, IndexFormatError
from m3search.storage import array_file
from m3search.storage.array_file import ArrayFileWriter, read_arrays
from m3search.storage.codec import checksum, pack_record
from m3search.storage.directory import Directory

NAME = "0f.vectors"
parts = st.lists(  # arrays, each in several pieces
    st.tuples(st.sampled_from(["|i1", "<u2", "<f4", "<i8"]), st.none() | st.integers(0, 5)).flatmap(
        lambda kind: st.tuples(
            st.just(kind[1]),
            st.lists(
                st.integers(0, 4).flatmap(
                    lambda rows: hnp.arrays(kind[0], (rows,) if kind[1] is None else (rows, kind[1]))
                ),
                min_size=1,
                max_size=3,
            ),
        )
    ),
    max_size=3,
)


def write(folder, contents, name=NAME):
    writer = ArrayFileWriter(Directory(folder), name)
    for number, (columns, pieces) in enumerate(contents):
        writer.begin(f"array {number}", pieces[0].dtype.str, columns)
        for piece in pieces:
            writer.append(piece)
    return writer.publish()


@pytest.fixture
def data(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    write(tmp_path, [(2, [vectors]), (None, [np.arange(4, dtype=np.int64)])])
    return (tmp_path / NAME).read_bytes()


@given(contents=parts)
def test_arrays_come_back(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("files")
    size, digest = write(folder, contents)
    data = Directory(folder).map(NAME, size)
    assert checksum(data) == digest
    arrays = read_arrays(data, NAME)
    assert list(arrays) == [f"array {number}" for number in range(len(contents))]
    for array, (_, pieces) in zip(arrays.values(), contents, strict=True):
        expected = np.concatenate(pieces)
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        assert array.tobytes() == expected.tobytes()
        assert array.ctypes.data % 64 == 0 or not array.size
        assert not array.flags.writeable


def test_every_flipped_bit_outside_the_values_is_found(data):
    table = data.index(b"array 0") - 19  # its checksum, and msgpack's bytes for two lists and a string
    for at in [*range(64), *range(table, len(data))]:
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(CorruptionError, match="restore the index"):
                read_arrays(memoryview(damaged), NAME)


def test_a_cut_file_is_found_at_every_length(data):
    for length in range(len(data)):
        with pytest.raises(CorruptionError, match="restore the index"):
            read_arrays(memoryview(data)[:length], NAME)


def test_a_file_under_another_name_is_found(data):
    assert read_arrays(memoryview(data), NAME)["array 0"].shape == (3, 2)
    with pytest.raises(CorruptionError, match=r"the table of 1e\.vectors does not match its checksum"):
        read_arrays(memoryview(data), "1e.vectors")


def test_a_newer_file_says_what_to_do(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(array_file, "_VERSION", 2)
        write(tmp_path, [])
    data = memoryview((tmp_path / NAME).read_bytes())
    with pytest.raises(IndexFormatError, match=r"0f\.vectors is of format 2, this m3search reads up to 1: upgrade"):
        read_arrays(data, NAME)


def test_a_table_that_points_outside_the_file_is_refused(data):
    head = data[:64]
    for entry in (["a", "<f4", 100, None, 64], ["a", "<f4", 1, None, 0], ["a", "<f4", -1, None, 64]):
        table = pack_record([entry], NAME.encode())
        forged = head + bytes(64) + table + len(table).to_bytes(8, "little") + b"M3FILE\0\0"
        with pytest.raises(CorruptionError, match="array 'a' lies outside"):
            read_arrays(memoryview(forged), NAME)
