"""Token vectors: how near the codecs come, and that a passage decodes alike wherever it lies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3search.errors import CorruptionError, InputError
from m3search.storage.array_file import read_arrays
from m3search.storage.directory import Directory
from m3search.storage.token_vectors import TokenVectors, TokenVectorsWriter, check_codec

passages = st.lists(
    st.integers(0, 5).flatmap(lambda t: hnp.arrays(np.float32, (t, 3), elements=st.floats(-8, 8, width=32))), max_size=6
)


def stored(folder, vectors, codec):
    directory = Directory(folder)
    writer = TokenVectorsWriter(directory, "x.colbert", 3, codec)
    writer.append(vectors[:1])
    writer.append(vectors[1:])
    size, _ = writer.publish()
    return read_arrays(directory.map("x.colbert", size), "x.colbert")


@given(vectors=passages, codec=st.sampled_from(["int8", "bf16"]))
def test_vectors_come_back_within_the_codec_s_step(tmp_path_factory, vectors, codec):
    tokens = TokenVectors(stored(tmp_path_factory.mktemp("t"), vectors, codec), len(vectors), "it")
    for number, given_vectors in enumerate(vectors):
        decoded = tokens.decode(number)
        assert decoded.dtype == np.float32
        assert decoded.shape == given_vectors.shape
        step = (
            np.abs(given_vectors).max(axis=1, initial=0)[:, None] / 254
            if codec == "int8"
            else np.abs(given_vectors) / 256
        )
        assert (np.abs(decoded.astype(np.float64) - given_vectors) <= step * 1.001 + 1e-37).all()


@pytest.mark.parametrize("codec", ["int8", "bf16"])
def test_a_passage_decodes_alike_wherever_it_lies(tmp_path_factory, codec):
    rng = np.random.default_rng(3)
    vectors = [rng.normal(size=(size, 3)).astype(np.float32) for size in (2, 0, 5, 1)]
    together = TokenVectors(stored(tmp_path_factory.mktemp("t"), vectors, codec), 4, "it")
    for number, one in enumerate(vectors):
        alone = TokenVectors(stored(tmp_path_factory.mktemp("t"), [one], codec), 1, "it")
        assert alone.decode(0).tobytes() == together.decode(number).tobytes()


def test_arrays_that_do_not_fit_together_are_found(tmp_path):
    arrays = stored(tmp_path, [np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)], "int8")
    TokenVectors(arrays, 2, "it")
    for damage, message in (
        ({"ends": np.array([0, 4, 3])}, "do not fit together"),
        ({"ends": np.array([0, 2])}, "do not fit together"),
        ({"scales": np.ones(2, np.float32)}, "do not fit together"),
        ({"scales": None}, "codes without scales"),
        ({"codes": np.ones((3, 3), np.uint16)}, "scales without codes"),
    ):
        with pytest.raises(CorruptionError, match=message):
            TokenVectors({name: array for name, array in {**arrays, **damage}.items() if array is not None}, 2, "it")


def test_an_unknown_codec_is_named_with_those_there_are():
    with pytest.raises(InputError, match="there is no ColBERT codec 'int4': choose one of int8, bf16"):
        check_codec("int4")
