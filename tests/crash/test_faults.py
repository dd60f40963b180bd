"""The disk fails at any call of a commit or a merge: never acknowledged, always surfaced, and nothing served changes."""

import shutil

import changes
import pytest
from changes import CHANGES, MODEL
from faults import Faults, faulty
from live_model import check
from running import LONG, note

from m3search import Index
from m3search.errors import StorageError
from m3search.storage import check_index
from m3search.storage.garbage import stored_segments

STEP = 1 if LONG else 8


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "i"
    changes.start(path)
    return path


def points(start, path, change):
    """The calls that a change makes."""
    shutil.copytree(start, path)
    with Index.open(path, mode="w", merging="manual") as index, faulty(Faults()) as faults:
        change(index)
    return faults.seen


@pytest.mark.parametrize("name", ["upsert", "merge"])
@pytest.mark.parametrize("kind", ["full", "failing", "short"])
def test_whatever_fails_nothing_is_acknowledged_and_the_old_generation_goes_on(start, tmp_path, name, kind):
    change, model = CHANGES[name]
    seen = points(start, tmp_path / "count", change)
    assert {"create", "write", "flush", "fsync", "rename"} <= set(seen)
    for point in range(0 if STEP == 1 else len(kind + name) % STEP, len(seen), STEP):
        path = tmp_path / f"{point}"
        shutil.copytree(start, path)
        with Index.open(path) as reader, Index.open(path, mode="w", merging="manual") as index:
            with faulty(Faults(point, kind)), pytest.raises(StorageError, match=r"cannot (write|bring|make)"):
                change(index)
            assert not reader.refresh()
            check(index, MODEL, blends=[{"dense": 1, "bm25": 1}])
            assert files(path) == files(start)
            call = seen[point]
            if call in {"create", "write", "flush"}:  # a file that never was whole is no harm: make room and try again
                change(index)
                check(index, model, blends=[{"dense": 1, "bm25": 1}])
            else:  # what the system has of a file that it could not sync is unknown
                with pytest.raises(StorageError, match="failed before: close this writer and open the index again"):
                    change(index)
                check(index, MODEL, blends=[{"dense": 1, "bm25": 1}])
        with Index.open(path, mode="w", merging="manual") as index:
            change(index) if call in {"fsync", "rename"} else None
            check(index, model)
            named = {segment.info.key for segment in index._snapshot.segments}
            assert set(stored_segments(index._environment)) == named
        if point % 7 == 0:
            assert check_index(path, 2) == []
        shutil.rmtree(path)
    note(points=len(range(0 if STEP == 1 else len(kind + name) % STEP, len(seen), STEP)), acknowledged=0)


def files(path):
    return sorted(entry.name for entry in (path / "segments").iterdir())
