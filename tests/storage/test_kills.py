"""Kills: whenever a writer dies, the old generation or the new one is served whole, and the next writer cleans up."""

import json
import os
import signal
import time

import pytest
from small_index import Process, build, garbage, opened_answers

from m3search import Index

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

KILL_EVERYWHERE = '''
"""Runs a change again and again, each time in a fork that dies some calls later; prints what each death left."""
import json, shutil, signal, warnings
from pathlib import Path
from m3search import Index
from small_index import build, garbage, opened_answers

warnings.simplefilter("ignore", DeprecationWarning)
from forks import dying_at, in_a_fork

base, change = Path(sys.argv[1]), sys.argv[2]
CALLS = {"write", "fsync", "rename", "put", "delete", "unlink", "truncate", "mkdir", "rmdir"}


def changed():
    if change == "delete":
        with Index.open(base / "i", mode="w") as index:
            index.delete(["0-001", "0-015"])
    else:
        build(base / "i", 12, seed=1, segment_size=5, overwrite=change == "overwrite", dense=sys.argv[5])


def judge():
    """0: nothing there; 2: the old generation; 3: the new one."""
    if not (base / "i" / "store" / "data.mdb").exists():
        return 0
    try:
        found = opened_answers(base / "i", verify=True)
    except Exception as error:
        return 0 if "holds no index that was finished" in str(error) or "is cut off" in str(error) else 4
    return 2 if found == old else 3 if found == new else 5


def write_next():
    build(base / "i", 12, seed=1, segment_size=5, overwrite=True)
    return 1 if garbage(base / "i") or opened_answers(base / "i", verify=True) != next_one else 0


old = new = next_one = None
build(base / "next", 12, seed=1, segment_size=5)
next_one = new = opened_answers(base / "next")
if change != "build":
    build(base / "start", 20)
    old = opened_answers(base / "start")
if change == "delete":
    shutil.copytree(base / "start", base / "deleted")
    with Index.open(base / "deleted", mode="w") as index:
        index.delete(["0-001", "0-015"])
    new = opened_answers(base / "deleted")
point, left = int(sys.argv[3]), -signal.SIGKILL
while left == -signal.SIGKILL:
    shutil.rmtree(base / "i", ignore_errors=True)
    if change != "build":
        shutil.copytree(base / "start", base / "i")
    left = in_a_fork(dying_at(point, CALLS, changed))
    print(json.dumps([left, in_a_fork(judge), in_a_fork(write_next)]), flush=True)
    point += int(sys.argv[4])
'''


@pytest.mark.parametrize(
    ("change", "step", "dense"),
    [
        ("build", 37, "flat"),
        ("overwrite", 37, "flat"),
        ("delete", 1, "flat"),
        ("build", 61, "hnsw"),
        ("overwrite", 61, "ivf"),
    ],
)
def test_a_writer_may_die_at_any_call_that_reaches_the_disk(tmp_path, change, step, dense):
    """Every 37th of some 500 to 800 calls; with a step of 1 all of them, in two minutes."""
    with Process(KILL_EVERYWHERE, tmp_path, change, 0, step, dense) as process:
        code, out = process.end(timeout=500)
    assert code == 0
    deaths = [json.loads(line) for line in out.splitlines()]
    assert len(deaths) > 10
    assert [left for left, _, _ in deaths] == [-signal.SIGKILL] * (len(deaths) - 1) + [0]
    assert [cleaned for _, _, cleaned in deaths] == [0] * len(deaths)
    served = [found for _, found, _ in deaths]
    before, after = (0, 3) if change == "build" else (2, 3)
    assert set(served) == {before, after}, served
    assert served == sorted(served)  # once it is published, it is
    assert served[0] == before
    assert served[-1] == after


BUILD = """
from small_index import build
print("ready", flush=True)
build(sys.argv[1], 60, seed=1, segment_size=3, overwrite=True)
"""


def test_a_build_may_be_killed_at_any_time(tmp_path):
    build(tmp_path / "i")
    build(tmp_path / "new", 60, seed=1, segment_size=3)
    old, new = opened_answers(tmp_path / "i"), opened_answers(tmp_path / "new")
    expected = old
    for tenths in range(8):
        with Process(BUILD, tmp_path / "i") as process:
            assert process.line() == "ready"
            time.sleep(tenths / 10)
            process.kill()
        found = opened_answers(tmp_path / "i", verify=True)
        assert found in (expected, new)
        expected = found
    build(tmp_path / "i", overwrite=True)
    assert garbage(tmp_path / "i") == set()
    assert opened_answers(tmp_path / "i", verify=True) == old


SOURCE_THAT_KILLS = """
import os, signal
from m3search import Index
def documents():
    yield from ({"id": f"n{number}", "text": "zip"} for number in range(int(sys.argv[2])))
    os.kill(os.getpid(), signal.SIGKILL)
Index.build(documents(), sys.argv[1], encoder=None, segment_size=100, overwrite=True)
"""


@pytest.mark.parametrize("after", [0, 100, 2000])
def test_a_build_killed_by_its_source_leaves_the_old_index_and_garbage_that_the_next_writer_removes(tmp_path, after):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with Process(SOURCE_THAT_KILLS, tmp_path / "i", after) as process:
        assert process.end()[0] == -signal.SIGKILL
    assert opened_answers(tmp_path / "i", verify=True) == expected
    with Index.open(tmp_path / "i", mode="w") as index:
        index.delete(["0-001"])
    build(tmp_path / "i", overwrite=True)
    assert opened_answers(tmp_path / "i", verify=True) == expected
    assert garbage(tmp_path / "i") == set()
