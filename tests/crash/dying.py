"""Kills a change at every so many of the calls with which it writes, syncs, renames and removes our own files.

    PYTHONPATH=tests python tests/crash/dying.py FOLDER CHANGE FIRST STEP plain|full

Prints a line of JSON for each death: the call, whether the index then holds what it held before or what it holds after, and
whether the next writer left anything that no manifest names. The last line is that of the change that nobody killed.
"""

import json
import shutil
import sys
from pathlib import Path

from changes import CHANGES, MODEL, start
from faults import Faults, faulty
from forks import in_a_fork, prepare
from live_model import check

from m3search import Index
from m3search.storage.garbage import stored_segments

BEFORE, AFTER, OTHER, GARBAGE = 1, 2, 3, 4


def changed(path, name, faults):
    with Index.open(path, mode="w", merging="manual") as index, faulty(faults):
        CHANGES[name][0](index)


def judge(path, name):
    """What the index holds, read as doubtfully as can be."""
    with Index.open(path, verify=True) as index:
        held = {document.id: document.metadata["version"] for document in index}
        if held not in (MODEL, CHANGES[name][1]):
            return OTHER
        check(index, held, blends=[{"dense": 1, "bm25": 1}])
    return AFTER if held == CHANGES[name][1] else BEFORE


def cleaned(path, name):
    """Whether a writer after it finds nothing that no manifest names, and can do the change."""
    with Index.open(path, mode="w", merging="manual") as index:
        named = {segment.info.uuid for segment in index._snapshot.segments}
        stored = {segment.hex() for segment in stored_segments(index._environment)}
        files = {entry.name.split(".")[0] for entry in (path / "segments").iterdir()}
        if stored != named or files != named or len(list(path.glob("store*"))) != 1:
            return GARBAGE
        CHANGES[name][0](index)
        check(index, CHANGES[name][1], blends=[{"dense": 1, "bm25": 1}])
    return 0


def calls(path, name):
    """The calls of a change that nobody kills."""
    notes = path.with_name("calls.json")

    def action():
        faults = Faults(kind="kill")
        changed(path, name, faults)
        notes.write_text(json.dumps(faults.seen))

    assert in_a_fork(action) == 0
    return json.loads(notes.read_text())


def main(folder, name, first, step, kind):
    base, path = Path(folder) / "start", Path(folder) / "i"
    prepare()
    assert in_a_fork(lambda: start(base, plain=kind == "plain")) == 0
    shutil.copytree(base, path)
    seen = calls(path, name)
    for point in [*range(first, len(seen), step), len(seen)]:
        shutil.rmtree(path)
        shutil.copytree(base, path)
        ended = in_a_fork(lambda: changed(path, name, Faults(point, "kill")))  # noqa: B023 - called at once
        found = [ended, in_a_fork(lambda: judge(path, name)), in_a_fork(lambda: cleaned(path, name))]
        print(json.dumps([[*seen, "end"][point], *found]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
