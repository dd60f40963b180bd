"""LMDB's own writes and syncs fail or kill, one at a time, in commits and in what else changes an index; by strace."""

from collections import Counter

import pytest
from running import LONG, note, run
from tracing import why_not

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=f"system calls cannot be made to fail: {why_not()}"),
    pytest.mark.timeout(1800 if LONG else 300),
]
SAMPLE = [
    ("upsert", "kill", 1),
    ("upsert", "EIO", 1),
    ("upsert", "ENOSPC", 2),
    ("upsert", "short", 2),
    ("delete", "EIO", 1),
    ("merge", "kill", 4),
    ("merge", "EIO", 5),
    ("compact", "kill", 1),
    ("compact", "ENOSPC", 2),
]
ALL = [
    (name, kind, 1) for name in ("upsert", "delete", "merge", "compact") for kind in ("kill", "EIO", "ENOSPC", "short")
]


@pytest.mark.parametrize(("name", "kind", "step"), ALL if LONG else SAMPLE)
def test_whatever_fails_is_surfaced_and_one_generation_is_whole(tmp_path, name, kind, step):
    found, said = run("system_calls.py", tmp_path, name, kind, 0, step)
    assert len(found) > 1
    for call, end, held, order, _ in found:
        # another uuid, another order of pages: what was counted may not come in the run that is to fail
        assert end in {"killed" if kind == "kill" else "surfaced", "finished"}, (call, end, said)
        assert held == "after" if end == "finished" else held in {"before", "after"}, (call, held, said)
        assert order == 0, (call, said)
    ends = Counter(end for _, end, *_ in found)
    assert ends["finished"] < len(found)
    note(calls=len(found), **{f"calls {end}": count for end, count in ends.items()}, torn=0)
