"""A writer dies at a call that reaches the disk: all calls of our own files for a commit, a sample for the rest.

LMDB's calls are in `test_system_calls.py`; builds are in `tests/storage/test_kills.py`.
"""

import os
import signal

import pytest
from running import LONG, note, run

BEFORE, AFTER = 1, 2
KILLED = -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize(("name", "step"), [("upsert", 1), ("merge", 9), ("compact", 1)])
def test_whatever_call_it_dies_at_one_generation_is_whole_and_the_next_writer_cleans_up(tmp_path, name, step):
    deaths, said = run("dying.py", tmp_path, name, 0, *((1, "full") if LONG else (step, "plain")))
    assert [ended for _, ended, _, _ in deaths] == [KILLED] * (len(deaths) - 1) + [0], said
    assert [left for *_, left in deaths] == [0] * len(deaths), said
    found = [held for _, _, held, _ in deaths]
    if name in {"merge", "compact"}:  # they change nothing that is held
        assert set(found) == {AFTER}, said
    else:
        assert set(found) <= {BEFORE, AFTER}, said
        assert found == sorted(found)  # once it is committed, it is
        assert found[-1] == AFTER
    note(deaths=len(deaths) - 1, torn=0)
