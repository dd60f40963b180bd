"""Arrays and records as bytes: what comes back is what went in, and every damaged byte is found."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3search.errors import CorruptionError, StorageError
from m3search.storage import codec
from m3search.storage.codec import (
    VALUE_LIMIT,
    check_ends,
    checksum,
    pack_array,
    pack_record,
    unpack_array,
    unpack_record,
)

KEY = b"s0123456789abcdefaids"
DTYPES = ["|u1", "|i1", "<u2", "<f2", "<u4", "<f4", "<i8", "<f8"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9))
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def flipped(blob, at, bit):
    damaged = bytearray(blob)
    damaged[at] ^= 1 << bit
    return memoryview(damaged)


@given(arrays, st.integers(0, 7))
def test_an_array_comes_back_from_wherever_it_lies(array, offset):
    blob = bytes(offset) + pack_array(array, KEY)
    again = unpack_array(memoryview(blob)[offset:], KEY, "it", verify=True)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()  # NaNs too
    assert again.flags.aligned
    assert not again.flags.writeable


def test_an_aligned_array_is_a_view_and_any_layout_is_packed_the_same():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    blob = memoryview(bytearray(pack_array(array, KEY)))
    view = unpack_array(blob, KEY, "it")
    blob[64:68] = np.float32(7).tobytes()
    assert view[0, 0] == 7
    assert pack_array(np.asfortranarray(array), KEY) == pack_array(array.astype(">f4"), KEY) == pack_array(array, KEY)


@pytest.mark.parametrize(
    "array", [np.arange(5, dtype=np.int64), np.zeros((0, 2), np.uint32), np.ones((2, 3), np.float16)]
)
def test_every_flipped_bit_of_a_header_is_found_at_once_and_of_the_values_by_verifying(array):
    blob = pack_array(array, KEY)
    for at in range(len(blob)):
        for bit in range(8):
            with pytest.raises(CorruptionError, match="restore the index"):
                unpack_array(flipped(blob, at, bit), KEY, "it", verify=at >= 64)


def test_a_cut_array_is_found_at_every_length():
    blob = memoryview(pack_array(np.arange(5, dtype=np.int64), KEY))
    for length in range(len(blob)):
        with pytest.raises(CorruptionError, match="restore the index"):
            unpack_array(blob[:length], KEY, "it")
    with pytest.raises(CorruptionError, match="array 'ids' of segment x"):
        unpack_array(memoryview(bytes(blob) + b"\0"), KEY, "array 'ids' of segment x")


def test_a_value_under_the_key_of_another_is_found():
    with pytest.raises(CorruptionError, match="it does not begin as this array"):
        unpack_array(memoryview(pack_array(np.arange(3), KEY)), KEY + b"2", "it")
    with pytest.raises(CorruptionError, match="it does not match its checksum"):
        unpack_record(pack_record([1], KEY), KEY + b"2", "it")


def test_an_array_of_a_type_that_the_formats_do_not_know_is_refused():
    with pytest.raises(CorruptionError, match=r"unknown type '\|b1'"):
        unpack_array(memoryview(pack_array(np.ones(2, bool), KEY)), KEY, "it")


def test_no_value_is_larger_than_its_limit(monkeypatch):
    assert codec.ARRAY_LIMIT < 2**32  # LMDB's own
    monkeypatch.setattr(codec, "ARRAY_LIMIT", 1000)
    assert len(pack_array(np.zeros(125), KEY)) == 1064
    with pytest.raises(StorageError, match=r"an array of 1,008 bytes is over the 1,000 .* smaller segment_size"):
        pack_array(np.zeros(126), KEY)
    with pytest.raises(StorageError, match="over the 67,108,864 that one value may have"):
        pack_record(bytes(VALUE_LIMIT), KEY)


@given(values)
def test_a_record_comes_back(value):
    assert unpack_record(memoryview(pack_record(value, KEY)), KEY, "it") == value


@given(values, st.data())
def test_every_flipped_bit_of_a_record_is_found(value, data):
    blob = pack_record(value, KEY)
    at = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(CorruptionError, match="it does not match its checksum"):
        unpack_record(flipped(blob, at, data.draw(st.integers(0, 7))), KEY, "it")
    with pytest.raises(CorruptionError):
        unpack_record(blob[:at], KEY, "it")


@pytest.mark.parametrize(
    "packed",
    [b"\xc1", b"", msgpack.packb([1]) + b"\0", msgpack.packb({1: 2}), b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000],
    ids=["no msgpack", "nothing", "more behind it", "a key that is no string", "a huge list", "very deep"],
)
def test_a_record_that_somebody_else_made_is_refused(packed):
    with pytest.raises(CorruptionError, match="it cannot be unpacked"):
        unpack_record(checksum(KEY, packed) + packed, KEY, "it")


@pytest.mark.parametrize("ends", [[0, 2], [1, 2, 5], [0, 2, 4], [0, 6, 5], [0, -1, 5], [0, 2, 3, 5]])
def test_offsets_that_do_not_rise_from_0_to_the_last_are_found(ends):
    check_ends(np.array([0, 2, 5]), 2, 5, "it")
    with pytest.raises(CorruptionError, match="the arrays of it do not fit together"):
        check_ends(np.array(ends), 2, 5, "it")
