"""Writers that are killed at random moments: 60 here, 1,000 in chunks of 50 at length."""

import os

import pytest
from running import CHUNK, LONG, note, run

KILLS = 50 if LONG else 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(60 * KILLS)
def test_no_kill_loses_what_was_acknowledged_or_brings_back_what_was_deleted(tmp_path):
    (found,), said = run("killing.py", tmp_path, KILLS, CHUNK + 1)
    assert found.get("wrong", 0) == 0, said
    assert found["kills"] == KILLS
    assert found["acknowledged"] > KILLS / 4  # the writers came to something
    assert len(found["during"]) >= 5
    note(kills=KILLS, acknowledged=found["acknowledged"], wrong=0, **{f"in {k}": n for k, n in found["during"].items()})
