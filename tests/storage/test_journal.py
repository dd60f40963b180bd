"""The journal's record; what a build does with it is in `tests/indexing/test_resume.py`."""

import pytest

from m3search.errors import CorruptionError, IndexFormatError
from m3search.storage import journal
from m3search.storage.journal import JournalChunk, JournalRecord, Mark

RECORD = JournalRecord(
    "0f" * 16,
    {"encoder": "mini"},
    (Mark(100, b"a" * 16),),
    (JournalChunk(90, Mark(110, b"b" * 16), 4000, b"c" * 16),),
)


def test_a_record_comes_back_and_knows_how_far_it_reaches():
    found = JournalRecord.unpack(RECORD.pack(), "the journal of here")
    assert found == RECORD
    assert found.documents == 110
    assert [mark.documents for mark in found.marks] == [100, 110]


def test_a_record_of_a_newer_version_says_what_to_do(monkeypatch):
    monkeypatch.setattr(journal, "_VERSION", 99)
    newer = RECORD.pack()
    monkeypatch.undo()
    with pytest.raises(IndexFormatError, match="the journal of here was written by a newer m3search: upgrade m3search"):
        JournalRecord.unpack(newer, "the journal of here")


def test_every_damaged_byte_is_found():
    good = RECORD.pack()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(CorruptionError):
            JournalRecord.unpack(bytes(bad), "the journal of here")
