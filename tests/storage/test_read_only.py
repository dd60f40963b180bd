"""Folders that cannot be written: an index opens there and answers, and every change says why it cannot be made."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from small_index import UNPRIVILEGED, Process, build, opened_answers

from m3search import Index

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no POSIX permissions")

TRY_EVERYTHING = (
    UNPRIVILEGED
    + """
from pathlib import Path
from m3search import Index, errors
path = Path(sys.argv[1])
print(opened_answers(path, verify=True) == opened_answers(path), len(opened_answers(path)[1]), flush=True)
for action in (
    lambda: Index.open(path, mode="w"),
    lambda: build(path, overwrite=True),
    lambda: build(path / "inside"),
    lambda: Index.open(path).save(path / "copy"),
):
    try:
        action()
    except errors.StorageError as error:
        print(str(error).replace(str(path), "PATH"), flush=True)
"""
)
HOLD_OPEN = (
    UNPRIVILEGED
    + """
from m3search import Index, errors
from small_index import answers
with Index.open(sys.argv[1]) as index:
    before, hits = answers(index), index.search("zip read", weights={"bm25": 1})
    print("open", flush=True)
    sys.stdin.readline()
    try:
        print(answers(index) == before and bool(hits[0].text))
    except errors.StorageError as error:
        print(error)
    try:
        print(bool(hits[0].text))
    except errors.StorageError as error:
        print("changed")
print(len(opened_answers(sys.argv[1])[1]))
"""
)


@pytest.fixture
def folder():
    """A folder that everybody may read; pytest's own are closed to other users."""
    path = Path(tempfile.mkdtemp(prefix="m3search-test-"))
    path.chmod(0o755)
    yield path
    for entry in [path, *path.rglob("*")]:
        entry.chmod(0o755)
    shutil.rmtree(path)


def seal(path, *, but=()):
    for entry in [path, *path.rglob("*")]:
        entry.chmod(0o666 if entry.name in but else 0o555 if entry.is_dir() else 0o444)


def test_an_index_opens_in_a_folder_that_cannot_be_written(folder):
    build(folder / "i")
    expected = opened_answers(folder / "i")
    before = {entry: entry.stat().st_mtime_ns for entry in (folder / "i").rglob("*")}
    seal(folder / "i")
    with Process(TRY_EVERYTHING, folder / "i") as process:
        code, out = process.end()
    assert code == 0
    assert out.splitlines() == [
        "True 20",
        "cannot write to PATH: Permission denied; name a path that can be written",
        "cannot write to PATH: Permission denied; name a path that can be written",
        "cannot make the folder PATH/inside: Permission denied",
        out.splitlines()[4],
    ]
    assert out.splitlines()[4].startswith("cannot make the folder PATH/copy.")
    assert {entry: entry.stat().st_mtime_ns for entry in (folder / "i").rglob("*")} == before
    assert opened_answers(folder / "i") == expected


@pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() != 0, reason="it takes two users, and only root is two")
@pytest.mark.parametrize("registered", [False, True])
def test_a_reader_that_writers_do_not_know_of_says_that_the_index_was_changed(folder, registered):
    build(folder / "i")
    seal(folder / "i", but=["lock.mdb"] if registered else [])
    with Process(HOLD_OPEN, folder / "i") as reader:
        assert reader.line() == "open"
        with Index.open(folder / "i", mode="w") as index:  # as root, which permissions do not bind
            index.delete(["0-001"])
            index.delete(["0-002"])
        reader.say("changed")
        code, out = reader.end()
    assert code == 0
    if registered:
        assert out.splitlines() == ["True", "True", "18"]
    else:
        told = (
            f"{folder / 'i'} was changed while it was open here: open it again; it stays readable through changes where "
            f"{folder / 'i' / 'store' / 'lock.mdb'} can be written"
        )
        assert out.splitlines() == [told, "changed", "18"]
