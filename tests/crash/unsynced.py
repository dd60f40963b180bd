"""Crashes the machine after every sync of a change, with each sync in turn doing nothing.

    PYTHONPATH=tests python tests/crash/unsynced.py FOLDER CHANGE STEP

The change is traced once; what it wrote is replayed on a disk that keeps only what was synced. The first line of JSON says how
many crashes with all syncs were looked at, and of how many the index was not what it was before or after; then comes a line for
every STEP-th sync: what it syncs, and whether it is needed (some crash without it shows), covered (the same file or folder is
synced again later, and no crash in between shows) or harmless (what is lost is garbage that is there again).
"""

import json
import shutil
import sys
from pathlib import Path

from changes import start
from disk import Disk
from dying import AFTER, BEFORE, judge
from forks import in_a_fork, prepare
from system_calls import change
from tracing import calls, traced

from m3search import Index
from m3search.storage.stores import store_of


def crashes(base, path, log, lost=None):
    """(disk, prints of what every crash would leave, last one at the end)."""
    disk = Disk(base, path, lost)
    left = [disk.print()]
    yield disk, left[-1]
    for call in calls(log):
        if disk.apply(call):
            yield disk, disk.print()
    yield disk, "end"


class Judge:
    """Looks at each state of the disk once."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self._seen = {}

    def __call__(self, disk):
        key = disk.print()
        if key not in self._seen:
            shutil.rmtree(self.folder, ignore_errors=True)
            disk.leave(self.folder)
            self._seen[key] = in_a_fork(self._judged)
        return self._seen[key]

    def _judged(self):
        held = judge(self.folder, self.name)
        if held == AFTER and self.name in {"merge", "compact"}:  # they change nothing that is held
            with Index.open(self.folder) as index:
                unchanged = index.info()["generation"] == 1 and store_of(self.folder).name == "store"
            return BEFORE if unchanged else AFTER
        return held


def main(folder, name, step):
    base, path, log = Path(folder) / "start", Path(folder) / "i", Path(folder) / "log"
    prepare()
    assert in_a_fork(lambda: start(base, plain=True)) == 0
    shutil.copytree(base, path)
    assert traced(change(path, name), log, data=2**27) == 0
    look = Judge(Path(folder) / "crashed", name)
    found = []
    for disk, _ in crashes(base, path, log):
        found.append(look(disk))
    wrong = sum(one not in {BEFORE, AFTER} for one in found) + (found[-1] != AFTER)
    print(json.dumps([len(found), wrong]), flush=True)
    syncs = disk.syncs
    for number in range(0, len(syncs), step):
        shows = False
        for without, _ in crashes(base, path, log, number):
            held = look(without)
            shows = shows or held not in {BEFORE, AFTER}
        shows = shows or held != AFTER
        again = any(what is syncs[number][0] for what, _ in syncs[number + 1 :])
        verdict = "needed" if shows else "covered" if again else "harmless"
        print(json.dumps([syncs[number][1], verdict]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
