"""Makes LMDB's own system calls fail, one at a time, in a commit and in what else changes an index.

    PYTHONPATH=tests python tests/crash/system_calls.py FOLDER CHANGE KIND FIRST STEP

KIND is kill, ENOSPC, EIO or short. Prints a line of JSON for each call: its name; what the process came to (killed, surfaced,
finished, or what went wrong); which of before and after the index holds when it is opened again; and whether the next writer
finds everything in order.
"""

import json
import shutil
import sys
from pathlib import Path

from changes import CHANGES, MODEL, start
from dying import AFTER, BEFORE, OTHER, cleaned, judge
from forks import in_a_fork, prepare
from live_model import check
from tracing import WRITES, calls, traced

from m3search import Index
from m3search.errors import StorageError

LMDBS = {*WRITES.split(","), "fdatasync"}
FINISHED, SURFACED, NOT_REFUSED = 0, 11, 12
NAMES = {FINISHED: "finished", SURFACED: "surfaced", NOT_REFUSED: "the writer went on", -9: "killed"}


def change(path, name):
    """A function for `traced`."""

    def action(begin):
        with Index.open(path, mode="w", merging="manual") as index:
            begin()
            try:
                CHANGES[name][0](index)
            except StorageError as error:
                if "cannot " not in str(error):
                    raise
            else:
                return FINISHED
            held = {document.id: document.metadata["version"] for document in index}
            assert held in (MODEL, CHANGES[name][1])
            check(index, held, blends=[{"dense": 1, "bm25": 1}])
            if name == "compact":  # its store is another one, and whether that can be written is no matter of this
                return SURFACED
            try:
                index.upsert(*_one_more())
            except StorageError as error:
                return SURFACED if "failed before: close this writer" in str(error) else OTHER
            return NOT_REFUSED

    return action


def _one_more():
    from live_model import given

    return given([("one more", 1)])


def injection(call, kind):
    """As strace wants it."""
    how = {"kill": "signal=KILL", "short": "retval=100"}.get(kind, f"error={kind}")
    return f"{call.name}:{how}:when={call.number}"


def main(folder, name, kind, first, step):
    base, path, log = Path(folder) / "start", Path(folder) / "i", Path(folder) / "log"
    prepare()
    assert in_a_fork(lambda: start(base, plain=True)) == 0
    shutil.copytree(base, path)
    assert traced(change(path, name), log) == FINISHED
    points = [call for call in calls(log) if call.name in LMDBS and "/store" in call.arguments]
    if kind == "short":
        points = [call for call in points if call.name != "fdatasync"]
    for call in points[first::step]:
        shutil.rmtree(path)
        shutil.copytree(base, path)
        ended = traced(change(path, name), log, injection(call, kind))
        held = in_a_fork(lambda: judge(path, name))
        order = in_a_fork(lambda: cleaned(path, name)) if held == BEFORE or name != "delete" else 0
        word = {BEFORE: "before", AFTER: "after"}.get(held, f"odd {held}")
        print(json.dumps([call.name, NAMES.get(ended, f"odd {ended}"), word, order, len(points)]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
