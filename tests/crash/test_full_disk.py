"""A file system that fills: what is acknowledged is there, what is not is said, and with room it goes on."""

import os
import shutil
import subprocess
import sys

import pytest
from changes import CHANGES, MODEL, start
from live_model import check, given
from running import LONG, note

from m3search import Index
from m3search.errors import LockedError, StorageError
from m3search.storage import check_index


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "m3search-tests", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip() if done else 'there is no mount'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder, left):
    """Fill a file system but for so many bytes."""
    free = shutil.disk_usage(folder).free
    with (folder / "filler").open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, max(free - left, 1))


def surfaced(change, index):
    """What a change that fails says; None: it did not fail."""
    try:
        change(index)
    except StorageError as error:
        return str(error)
    return None


OPEN = """
import sys
from m3search import Index, errors
try:
    print(len(Index.open(sys.argv[1])))
except errors.StorageError as error:
    print(error)
"""


def test_opening_on_a_full_disk_is_never_a_bus_error(small_disk):
    """LMDB maps its table of readers and writes to it: without disk under it that would be a SIGBUS."""
    path = small_disk / "i"
    start(path)
    (path / "store" / "lock.mdb").unlink()
    fill(small_disk, 0)
    done = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "No space left on device: 65,664 bytes more are needed, 0 are free; make room and try again" in done.stdout
    (small_disk / "filler").unlink()
    Index.open(path).close()
    fill(small_disk, 0)
    done = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "12\n")
    with Index.open(path, mode="w") as index:
        assert len(index) == 12
        with pytest.raises(LockedError, match="is being written by another process"):  # who could not be written down
            Index.open(path, mode="w")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_does_not_fit_is_said_and_the_old_generation_goes_on(small_disk, name):
    path, failed = small_disk / "i", 0
    change, after = CHANGES[name]
    rooms = [*range(0, 100_000, 4096 if LONG else 24_576), 2**21]
    for left in rooms:
        start(path)
        fill(small_disk, left)
        with Index.open(path, mode="w", merging="manual") as index, Index.open(path) as reader:
            said = surfaced(change, index)
            if said is not None:
                failed += 1
                assert "cannot " in said
                assert "bytes are free" in said or " are free; make room" in said, said
                held = {document.id: document.metadata["version"] for document in index}
                assert held in (MODEL, after)  # a merge is committed before what it replaced is removed
                check(index, held, blends=[{"dense": 1, "bm25": 1}])
            else:
                held = after
            check(reader, MODEL, blends=[{"dense": 1}])
        (small_disk / "filler").unlink()
        assert check_index(path, 2) == []
        with Index.open(path, mode="w", merging="manual", verify=True) as index:
            check(index, held, blends=[{"dense": 1, "bm25": 1}])
            index.upsert(*given([("with room", 1)]))
            check(index, held | {"with room": 1})
        shutil.rmtree(path)
    assert failed
    assert failed < len(rooms)
    note(fillings=len(rooms), surfaced=failed)


def test_a_build_that_does_not_fit_leaves_what_was_served(small_disk):
    path = small_disk / "i"
    start(path)
    fill(small_disk, 40_960)
    documents, vectors = given([(f"b{number}", 1) for number in range(400)])
    with pytest.raises(StorageError, match=r"[0-9,]+ bytes .*[0-9,]+ (bytes )?are free"):
        Index.build(documents, path, encoder=None, encodings=vectors, overwrite=True)
    (small_disk / "filler").unlink()
    with Index.open(path, verify=True) as index:
        check(index, MODEL)
