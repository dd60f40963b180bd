"""EncoderIdentity: told apart by what decides the vectors, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest

from m3search import EncoderIdentity

MINE = EncoderIdentity("mini", "abc", {"a": "1", "b": "2"}, "mean", 384, 384, 30522, 256)


def test_it_survives_the_manifest():
    assert EncoderIdentity.from_dict(msgpack.unpackb(msgpack.packb(MINE.to_dict()))) == MINE


def test_a_copy_of_another_name_makes_the_same_vectors():
    assert MINE.same_vectors(replace(MINE, name="/models/copy", revision="", files={"b": "2", "a": "1"}))


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"a": "1"}},
        {"files": {"a": "1", "b": "3"}},
        {"pooling": "cls"},
        {"dim": 385},
        {"colbert_dim": 128},
        {"vocab_size": 1},
        {"max_tokens": 128},
    ],
)
def test_any_other_difference_counts(change):
    assert not MINE.same_vectors(replace(MINE, **change))
