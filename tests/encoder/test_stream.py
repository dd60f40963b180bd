"""Encoding from a source of any length: order, memory, errors of the source, token vectors in the storage codecs."""

import itertools
import threading
import tracemalloc

import numpy as np
import pytest

from m3search import Encoder
from m3search.encoder import encoder as encoder_module
from m3search.encoder.stream import Window, tokenized_windows
from m3search.errors import EncodingsError, InputError
from m3search.records import Encodings
from m3search.records.token_codes import CODECS, TokenCodes
from m3search.storage import token_vectors

TEXTS = [f"{'the dog ' * (row % 9)}fox {row}" for row in range(60)] + ["", "</s> <pad>"]


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of few texts, so that a short source has many."""
    monkeypatch.setattr(encoder_module, "_WINDOW", Window(texts=7))


def test_a_stream_gives_what_encode_gives(tiny, small_windows):
    parts = list(tiny.encode_iter(iter(TEXTS), colbert=True))
    assert len(parts) > 8
    one, whole = Encodings.concatenate(parts), tiny.encode(TEXTS, colbert=True)
    np.testing.assert_allclose(one.dense, whole.dense, rtol=0, atol=2e-6)
    np.testing.assert_allclose(one.lexical.toarray(), whole.lexical.toarray(), rtol=0, atol=2e-6)
    for left, right in zip(one.colbert, whole.colbert, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=2e-6)
    assert one.lexical_dict(0, tokens=True).keys() == whole.lexical_dict(0, tokens=True).keys()


@pytest.mark.parametrize("codec", CODECS)
def test_token_vectors_leave_as_they_are_stored(tiny, codec, small_windows):
    """The codes are those that storage makes of the vectors in fp32."""
    # one text a batch: batches differ in the last bits, and a code is then another
    coded = list(tiny.encode_iter(TEXTS, colbert_codec=codec, batch_tokens=1))
    vectors = tiny.encode(TEXTS, colbert=True, batch_tokens=1).colbert
    row = 0
    for part in coded:
        assert isinstance(part.colbert, TokenCodes)
        assert (part.colbert.codec, part.colbert.dim) == (codec, tiny.identity.colbert_dim)
        for place, decoded in enumerate(part.colbert):
            owned = slice(part.colbert.ends[place], part.colbert.ends[place + 1])
            if codec == "bf16":
                np.testing.assert_array_equal(part.colbert.codes[owned], token_vectors.to_bf16(vectors[row]))
            else:
                codes, scales = token_vectors.to_int8(vectors[row])
                np.testing.assert_array_equal(part.colbert.codes[owned], codes)
                np.testing.assert_array_equal(part.colbert.scales[owned], scales)
            if codec == "int8+bits":
                np.testing.assert_array_equal(part.colbert.signs[owned], token_vectors.sign_words(vectors[row]))
            np.testing.assert_allclose(decoded, vectors[row], atol=0.005)
            row += 1
    assert row == len(TEXTS)


def test_coded_batches_come_back_in_order(tiny):
    """Batches go longest first; the codes of a window are put back."""
    (whole,) = tiny.encode_iter(TEXTS, colbert_codec="int8", batch_tokens=40)
    for decoded, vectors in zip(whole.colbert, tiny.encode(TEXTS, colbert=True).colbert, strict=True):
        np.testing.assert_allclose(decoded, vectors, atol=0.005)


def test_rows_of_codes(tiny):
    (whole,) = tiny.encode_iter(TEXTS, colbert_codec="int8+bits")
    part = whole.rows(3, 9)
    assert isinstance(part.colbert, TokenCodes)
    for left, right in zip(part.colbert, list(whole.colbert)[3:9], strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(whole.colbert[-1], whole.colbert[len(TEXTS) - 1])
    with pytest.raises(IndexError):
        whole.colbert[len(TEXTS)]
    with pytest.raises(EncodingsError, match="do not fit together"):
        TokenCodes("int8", part.colbert.codes, part.colbert.ends, part.colbert.scales, part.colbert.signs)


def test_no_texts(tiny):
    assert list(tiny.encode_iter([])) == []
    assert len(TokenCodes.code([], "int8+bits", dim=40)) == 0


def test_memory_does_not_grow_with_the_source(tiny, monkeypatch):
    """8 times the texts take no more memory, and the source is read no further than two windows ahead."""
    read = 0

    def source(count):
        nonlocal read
        for row in range(count):
            read += 1
            yield f"the dog and the fox {row} in the library " * 4

    def peak(count):
        tracemalloc.start()
        ahead, seen = 0, 0
        for part in tiny.encode_iter(source(count), colbert_codec="int8"):
            seen += len(part)
            ahead = max(ahead, read - seen)
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seen == count
        return traced, ahead

    list(tiny.encode_iter(source(8), colbert_codec="int8"))
    monkeypatch.setattr(encoder_module, "_COLBERT_BYTES", 4 * 64 * 8000)
    read = 0
    few, _ = peak(100)
    read = 0
    many, ahead = peak(800)
    assert ahead <= 101
    assert many < 1.5 * few


def test_an_endless_source(tiny, small_windows):
    parts = tiny.encode_iter(f"fox {row}" for row in itertools.count())
    first, second = next(parts), next(parts)
    parts.close()
    assert len(first) == len(second) == 7
    np.testing.assert_allclose(second.dense, tiny.encode([f"fox {row}" for row in range(7, 14)]).dense, atol=2e-6)


def test_what_comes_before_an_error_is_encoded(tiny, small_windows):
    def source():
        yield from TEXTS[:10]
        raise OSError("the disk is gone")

    parts = tiny.encode_iter(source())
    assert [len(next(parts)), len(next(parts))] == [7, 3]
    with pytest.raises(OSError, match="the disk is gone"):
        next(parts)


def test_a_text_that_is_none_is_named_by_its_place(tiny, small_windows):
    parts = tiny.encode_iter([*TEXTS[:20], 3])
    assert [len(next(parts)), len(next(parts)), len(next(parts))] == [7, 7, 6]
    with pytest.raises(InputError, match="text 20 is a int"):
        next(parts)


def test_arguments_are_checked_at_once(tiny):
    with pytest.raises(InputError, match="no ColBERT codec 'zip'"):
        tiny.encode_iter(["a"], colbert_codec="zip")
    with pytest.raises(InputError, match=r"write \[text\]"):
        tiny.encode_iter("a text")
    with pytest.raises(InputError, match="at least one"):
        tiny.encode_iter(["a"], dense=False, lexical=False)
    with pytest.raises(InputError, match="batch_tokens is 0"):
        tiny.encode_iter(["a"], batch_tokens=0)


def test_the_next_window_is_tokenized_ahead_and_the_source_read_here():
    """While the first window is looked at, the second is tokenized, in another thread."""
    second = threading.Event()
    here, readers, workers = threading.get_ident(), set(), set()

    def source():
        for word in ("a", "b", "c"):
            readers.add(threading.get_ident())
            yield word

    def tokenize(chunk):
        workers.add(threading.get_ident())
        if chunk == ["b"]:
            second.set()
        return chunk

    windows = tokenized_windows(source(), Window(texts=1), tokenize)
    assert next(windows) == ["a"]
    assert second.wait(30)
    assert list(windows) == [["b"], ["c"]]
    assert readers == {here}
    assert here not in workers


def test_a_window_ends_at_its_characters():
    windows = list(tokenized_windows(["aa", "bb", "cccccccc", "d"], Window(texts=9, characters=4), lambda chunk: chunk))
    assert windows == [["aa", "bb"], ["cccccccc"], ["d"]]


def test_encoder_of_the_golden_test_streams_them_all(tiny: Encoder):
    assert sum(len(part) for part in tiny.encode_iter(TEXTS * 3)) == 3 * len(TEXTS)
