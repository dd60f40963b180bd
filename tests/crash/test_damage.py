"""Flipped bits, and files that are cut, zeroed or swapped: level 2 of the check finds all of it in what is read."""

import os

import pytest
from running import CHUNK, LONG, note, run

from m3search import Index
from m3search.storage import check_index

DAMAGES = 500 if LONG else 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(3600 if LONG else 600)
def test_whatever_is_damaged_in_live_bytes_is_found_and_no_signal_reaches_who_checks(tmp_path):
    (found,), said = run("damages.py", tmp_path, DAMAGES, CHUNK + 1)
    assert found["missed"] == [], said
    assert found["damages"] == DAMAGES
    assert found["found"] > DAMAGES / 2
    assert len(found["kinds"]) > 12
    note(
        damages=DAMAGES,
        found=found["found"],
        missed=0,
        **{"not live": found.get("not live", 0), "ended by a signal": sum(found["signals"].values())},
    )
    # the same through a process of its own, as `m3search check` does it
    path = tmp_path / "sound"
    with Index.open(path):
        assert check_index(path, 2) == []
    data = path / "store" / "data.mdb"
    with data.open("r+b") as file:
        file.write(b"\xff" * 4096 * 3)
    assert check_index(path, 2)
