"""The machine crashes and keeps only what was synced, and each sync in turn is left out: then it has to show.

A kill keeps what the system has not written yet, so no kill finds a sync that is missing.
"""

from collections import Counter

import pytest
from running import note, run
from tracing import why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"nothing can be traced: {why_not()}")


@pytest.mark.parametrize("name", ["upsert", "delete", "merge", "compact"])
def test_no_sync_is_missing_and_none_is_left_out_unseen(tmp_path, name):
    ((crashes, wrong), *syncs), said = run("unsynced.py", tmp_path, name, 1)
    assert crashes > 3
    assert wrong == 0, said  # with every sync in its place
    verdicts = Counter(verdict for _, verdict in syncs)
    assert verdicts["needed"] >= 2
    for what, verdict in syncs:
        if what.startswith("file") or what == "LMDB's pages":
            assert verdict == "needed", what
    # a merge's last commit removes what it has replaced; without it that is garbage once more
    assert verdicts["harmless"] == (1 if name == "merge" else 0), syncs
    assert syncs[-1] == (["LMDB's root", "harmless"] if name == "merge" else [syncs[-1][0], "needed"])
    note(crashes=crashes, syncs=len(syncs), **{f"syncs {verdict}": count for verdict, count in verdicts.items()})
