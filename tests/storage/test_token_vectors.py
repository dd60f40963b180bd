"""Token vectors: how near the codecs come, what they take, and that a passage decodes alike wherever it lies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3search.errors import CorruptionError, InputError
from m3search.records import CODECS, check_codec
from m3search.storage import token_vectors
from m3search.storage.array_file import read_arrays
from m3search.storage.directory import Directory
from m3search.storage.token_vectors import TokenVectors, TokenVectorsWriter, files_of, token_bytes

DIM = 3

passages = st.lists(
    st.integers(0, 5).flatmap(lambda t: hnp.arrays(np.float32, (t, DIM), elements=st.floats(-8, 8, width=32))),
    max_size=6,
)


def stored(folder, vectors, codec, dim=DIM):
    """The arrays of the files that a writer makes, and the size of each file."""
    directory = Directory(folder)
    writer = TokenVectorsWriter(directory, "x", dim, codec)
    writer.append(vectors[:1])
    writer.append(vectors[1:])
    assert writer.tokens == sum(map(len, vectors))
    files = writer.publish()
    assert directory.names() == sorted(f"x.{suffix}" for suffix in files_of(codec))
    return {
        name: array
        for suffix, (size, _) in files.items()
        for name, array in read_arrays(directory.map(f"x.{suffix}", size), f"x.{suffix}").items()
    }


def read(folder, vectors, codec, dim=DIM):
    return TokenVectors(stored(folder, vectors, codec, dim), len(vectors), dim, codec, "it")


@given(vectors=passages, codec=st.sampled_from(CODECS))
def test_vectors_come_back_within_the_codec_s_step(tmp_path_factory, vectors, codec):
    tokens = read(tmp_path_factory.mktemp("t"), vectors, codec)
    for number, given_vectors in enumerate(vectors):
        decoded = tokens.decode(number)
        assert decoded.dtype == np.float32
        assert decoded.shape == given_vectors.shape
        step = (
            np.abs(given_vectors) / 256
            if codec == "bf16"
            else np.abs(given_vectors).max(axis=1, initial=0)[:, None] / 254
        )
        assert (np.abs(decoded.astype(np.float64) - given_vectors) <= step * 1.001 + 1e-37).all()


@pytest.mark.parametrize("dim", [1, 31, 32, 33, 384])
def test_a_sign_is_a_bit(tmp_path, dim):
    vectors = np.random.default_rng(1).normal(size=(5, dim)).astype(np.float32)
    vectors[0, 0] = 0
    tokens = read(tmp_path, [vectors], "int8+bits", dim)
    assert tokens.signs.shape == (5, -(-dim // 32))
    bits = np.unpackbits(tokens.signs.view(np.uint8), axis=1, bitorder="little")
    assert (bits[:, :dim] == (vectors > 0)).all()
    assert not bits[:, dim:].any()


@pytest.mark.parametrize("codec", CODECS)
def test_a_passage_decodes_alike_wherever_it_lies(tmp_path_factory, codec):
    rng = np.random.default_rng(3)
    vectors = [rng.normal(size=(size, DIM)).astype(np.float32) for size in (2, 0, 5, 1)]
    together = read(tmp_path_factory.mktemp("t"), vectors, codec)
    for number, one in enumerate(vectors):
        alone = read(tmp_path_factory.mktemp("t"), [one], codec)
        assert alone.decode(0).tobytes() == together.decode(number).tobytes()


@pytest.mark.parametrize("value", [3.4028235e38, 3.4e38, 1e-45, 2e-44, 3e-39])
@pytest.mark.parametrize("codec", CODECS)
def test_the_largest_and_the_smallest_numbers_stay_numbers(tmp_path, codec, value):
    vectors = np.array([[value, -value, 0]], np.float32)
    decoded = read(tmp_path, [vectors], codec).decode(0)
    assert np.isfinite(decoded).all()
    assert decoded == pytest.approx(vectors, rel=0.01, abs=1e-40)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dim", [1, 33, 384, 1024])
def test_the_files_have_the_bytes_that_are_told(tmp_path, codec, dim):
    vectors = [np.ones((500, dim), np.float32)] * 4
    arrays = stored(tmp_path, vectors, codec, dim)
    files = sum(path.stat().st_size for path in tmp_path.iterdir())
    arrays.pop("ends")
    assert sum(array.nbytes for array in arrays.values()) == 2000 * token_bytes(dim, codec)
    assert 0 < files - 2000 * token_bytes(dim, codec) < 1200


def test_the_bytes_against_fp16():
    half = 2 * 1024
    assert token_bytes(1024, "int8") / half <= 0.51
    assert token_bytes(1024, "int8+bits") / half <= 0.58
    assert token_bytes(384, "int8+bits") / (2 * 384) <= 0.58
    assert token_bytes(1024, "bf16") == half


def test_vectors_go_to_the_disk_as_they_come(tmp_path):
    """Nothing but scales and offsets waits for the end."""
    writer = TokenVectorsWriter(Directory(tmp_path), "x", 1024, "int8+bits")
    for _ in range(5):
        writer.append([np.ones((1000, 1024), np.float32)])
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert written["x.colbert.part"] >= 4.9 * 1000 * 1024
    assert written["x.signs.part"] >= 4.5 * 1000 * 128
    writer.discard()
    assert not list(tmp_path.iterdir())


def test_a_segment_is_full_of_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(token_vectors, "LARGEST_SEGMENT", 10)
    writer = TokenVectorsWriter(Directory(tmp_path), "x", DIM, "int8")
    writer.append([np.ones((9, DIM), np.float32)])
    assert not writer.full
    writer.append([np.ones((1, DIM), np.float32)])
    assert writer.full
    writer.discard()


DAMAGE = [
    ("int8", {"ends": np.array([0, 4, 3])}, "do not fit together"),
    ("int8", {"ends": np.array([0, 2])}, "do not fit together"),
    ("int8", {"ends": np.array([-1, 2, 3])}, "do not fit together"),
    ("int8", {"ends": np.array([0, 2, 4])}, "do not fit together"),
    ("int8", {"ends": np.array([0, 2, 3], np.float64)}, "do not fit together"),
    ("int8", {"scales": np.ones(2, np.float32)}, "do not fit together"),
    ("int8", {"scales": None}, "it holds codes, ends, int8 has codes, ends, scales: restore the index"),
    ("int8", {"codes": np.ones((3, DIM), np.uint16)}, "do not fit together"),
    ("int8", {"codes": np.ones((3, DIM + 1), np.int8)}, "do not fit together"),
    ("int8", {"codes": np.ones(9, np.int8)}, "do not fit together"),
    ("bf16", {"scales": np.ones(3, np.float32)}, "bf16 has codes, ends: restore the index"),
    ("bf16", {"codes": np.ones((3, DIM), np.int8)}, "do not fit together"),
    ("int8+bits", {"signs": np.ones((2, 1), np.uint32)}, "do not fit together"),
    ("int8+bits", {"signs": np.ones((3, 2), np.uint32)}, "do not fit together"),
    ("int8+bits", {"signs": np.ones((3, 1), np.int8)}, "do not fit together"),
    ("int8+bits", {"signs": None}, "has codes, ends, scales, signs"),
]


@pytest.mark.parametrize(("codec", "damage", "message"), DAMAGE)
def test_arrays_that_do_not_fit_together_are_found(tmp_path, codec, damage, message):
    arrays = stored(tmp_path, [np.ones((2, DIM), np.float32), np.ones((1, DIM), np.float32)], codec)
    TokenVectors(arrays, 2, DIM, codec, "it")
    damaged = {name: array for name, array in {**arrays, **damage}.items() if array is not None}
    with pytest.raises(CorruptionError, match=message):
        TokenVectors(damaged, 2, DIM, codec, "it")


def test_an_unknown_codec_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"there is no ColBERT codec 'int4': choose one of int8, bf16, int8\+bits"):
        check_codec("int4")
    with pytest.raises(InputError, match="no ColBERT codec 'fp8'"):
        token_bytes(8, "fp8")
