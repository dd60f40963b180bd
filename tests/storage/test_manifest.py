"""The manifest: a record that comes back whole, and says so where it does not."""

import re

import pytest

from m3search.errors import CorruptionError, IndexFormatError
from m3search.records import EncoderIdentity, Weights
from m3search.storage import IndexConfig, Manifest, SegmentInfo, manifest
from m3search.storage.codec import pack_record, unpack_record
from m3search.storage.keys import BUILDING_KEY, MANIFEST_KEY
from m3search.storage.manifest import FORMAT_VERSION, FileInfo

IDENTITY = EncoderIdentity("mini", "r1", {"model": "53aa"}, "mean", 384, 384, 30522, 256)
CONFIG = IndexConfig(
    dense_dim=384,
    dense_kind="hnsw",
    dense_options={"M": 8},
    vocab_size=30522,
    colbert_dim=128,
    colbert_codec="bf16",
    bm25={"analyzer": {}, "k1": 1.2, "b": 0.75},
    encoder=IDENTITY,
    weights=Weights(dense=1),
    segment_size=7,
)
SEGMENT = SegmentInfo("0f" * 16, 5, 9, 2, {"vectors": FileInfo(80, b"x" * 16)}, {"ids": 70}, {"dense_norm": 0.5})
WHOLE = Manifest(3, CONFIG, (SEGMENT,), "2026-01-02T03:04:05+00:00")


@pytest.mark.parametrize("given", [WHOLE, Manifest(0, IndexConfig())])
def test_a_manifest_comes_back(given):
    assert Manifest.unpack(given.pack(MANIFEST_KEY), MANIFEST_KEY, "it") == given


def test_an_index_has_the_legs_that_its_config_names():
    assert CONFIG.legs == ("dense", "lexical", "bm25", "colbert")
    assert IndexConfig(vocab_size=5).legs == ("lexical",)
    assert IndexConfig().legs == ()


def test_every_damaged_byte_of_a_manifest_is_found():
    blob = WHOLE.pack(MANIFEST_KEY)
    for at in range(len(blob)):
        damaged = bytearray(blob)
        damaged[at] ^= 0xFF
        with pytest.raises(
            CorruptionError, match="it does not match its checksum: restore the index or build it again"
        ):
            Manifest.unpack(damaged, MANIFEST_KEY, "it")
        with pytest.raises(CorruptionError):
            Manifest.unpack(blob[:at], MANIFEST_KEY, "it")


def test_a_stage_is_no_manifest():
    with pytest.raises(CorruptionError):
        Manifest.unpack(WHOLE.pack(BUILDING_KEY), MANIFEST_KEY, "it")


def test_a_manifest_of_a_newer_version_says_what_to_do(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT_VERSION", FORMAT_VERSION + 1)
        newer = WHOLE.pack(MANIFEST_KEY)
    newest = f"is of format {FORMAT_VERSION + 1}, this m3search reads up to {FORMAT_VERSION}"
    message = f"the manifest of here {newest}: upgrade m3search"
    with pytest.raises(IndexFormatError, match=re.escape(message)):
        Manifest.unpack(newer, MANIFEST_KEY, "the manifest of here")


@pytest.mark.parametrize("missing", ["format", "generation", "config", "segments", "created"])
def test_a_manifest_that_lacks_something_is_damaged(missing):
    record = unpack_record(WHOLE.pack(MANIFEST_KEY), MANIFEST_KEY, "it")
    del record[missing]
    with pytest.raises(CorruptionError, match=r"it is (no manifest|incomplete).*: restore the index or build it again"):
        Manifest.unpack(pack_record(record, MANIFEST_KEY), MANIFEST_KEY, "it")


@pytest.mark.parametrize("record", [None, [], {}, {"format": "1"}])
def test_another_record_is_no_manifest(record):
    with pytest.raises(CorruptionError, match="it is no manifest"):
        Manifest.unpack(pack_record(record, MANIFEST_KEY), MANIFEST_KEY, "it")
