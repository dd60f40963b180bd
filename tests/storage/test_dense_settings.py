"""Dense settings: what a user may ask for, and what a segment of any size gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3search.errors import InputError
from m3search.storage import DenseSettings, IndexConfig

FLAT_PASSAGES = 200_000


@pytest.mark.parametrize(
    ("kind", "passages", "found"),
    [
        ("auto", 0, "flat"),
        ("auto", FLAT_PASSAGES, "flat"),
        ("auto", FLAT_PASSAGES + 1, "hnsw"),
        ("flat", 10**7, "flat"),
        ("hnsw", 1, "hnsw"),
        ("hnsw", 0, "flat"),
        ("ivf", 1, "ivf"),
        ("ivf", 0, "flat"),
    ],
)
def test_the_kind_of_a_segment(kind, passages, found):
    assert DenseSettings.of(kind).kind_of(passages) == found


def test_options_are_kept_and_have_defaults():
    assert DenseSettings.of("hnsw", {"M": 48, "efConstruction": 99}).links == 48
    assert DenseSettings.of("auto", {"efConstruction": 99}).ef_construction == 99
    assert (DenseSettings.of("hnsw").links, DenseSettings.of("hnsw").ef_construction) == (24, 200)
    assert DenseSettings.of("ivf", {"nlist": 77}).lists(10**6) == 77
    assert DenseSettings.of("ivf", {}).lists(10**6) == 4000


@given(st.integers(1, 10**8), st.one_of(st.none(), st.integers(1, 2**20)))
def test_lists_are_never_more_than_a_segment_can_fill(passages, wanted):
    lists = DenseSettings.of("ivf", {} if wanted is None else {"nlist": wanted}).lists(passages)
    assert 1 <= lists <= max(1, passages // 16)
    if wanted is not None:
        assert lists <= wanted
        assert lists == wanted or wanted > passages // 16


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("HNSW", None, "dense is 'HNSW': give one of auto, flat, hnsw, ivf"),
        (None, None, "dense is None"),
        (["hnsw"], None, r"dense is \['hnsw'\]"),
        ("hnsw", "M=3", "dense_options is 'M=3': give a mapping such as {'M': 32}"),
        ("hnsw", {"nlist": 3}, "dense='hnsw' has no option 'nlist': it takes M, efConstruction"),
        ("auto", {"nlist": 3}, "dense='auto' has no option 'nlist'"),
        ("ivf", {"m": 3}, "dense='ivf' has no option 'm': it takes nlist"),
        ("hnsw", {"M": True}, "dense option M is True: give a whole number from 4 to 128"),
        ("hnsw", {"M": 129}, "dense option M is 129"),
        ("hnsw", {"M": "32"}, "dense option M is '32'"),
        ("hnsw", {"efConstruction": 7}, "dense option efConstruction is 7: give a whole number from 8 to 4,096"),
        ("ivf", {"nlist": 0}, "dense option nlist is 0: give a whole number from 1 to 1,048,576"),
        ("ivf", {"nlist": None}, "dense option nlist is None"),
    ],
)
def test_what_cannot_be_built_is_said(kind, options, message):
    with pytest.raises(InputError, match=message):
        DenseSettings.of(kind, options)


def test_a_config_keeps_them_and_one_without_options_is_read():
    config = IndexConfig(dense_dim=3, dense_kind="hnsw", dense_options={"M": 9})
    assert IndexConfig.from_dict(config.to_dict()).dense_settings == DenseSettings("hnsw", {"M": 9})
    older = config.to_dict()
    del older["dense_options"]
    older["dense_kind"] = "flat"
    assert IndexConfig.from_dict(older).dense_settings == DenseSettings("flat", {})
