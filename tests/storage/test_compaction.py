"""Compacting: disk comes back, nothing that anybody reads changes, and a crash leaves the old store or the new one."""

import contextlib
import os
import shutil
import signal
import threading
import warnings

import pytest
from small_index import Process, answers, build, garbage, opened_answers

from m3search import Index
from m3search.errors import CorruptionError, InputError, StorageError
from m3search.storage import IndexWriter, check_index, compaction, index_writer, stores
from m3search.storage.keys import BUILDING_KEY


def size(path):
    return sum(file.stat().st_size for file in path.rglob("data.mdb"))


@pytest.fixture
def grown(tmp_path):
    """An index whose store has grown by commits under a reader that stood still."""
    path = tmp_path / "i"
    build(path)
    with Index.open(path), IndexWriter(path) as writer:
        for number in range(4):
            with writer.commit() as transaction:
                transaction.put(b"rother", bytes([number]) * 500_000)
        with writer.commit(deletes=True) as transaction:
            transaction.delete(b"rother")
    return path


def test_disk_comes_back_and_answers_stay(grown):
    expected, before = opened_answers(grown), size(grown)
    with Index.open(grown, mode="w") as index:
        done = index.compact()
        assert answers(index) == expected
        assert index.info()["bytes"]["free"] < 2**16
        assert index.delete(["0-001"]) == 1
    assert done.before == before
    assert done.after < before / 4
    assert size(grown) < done.after + 2**18
    assert sorted(entry.name for entry in grown.iterdir() if entry.is_dir()) == ["segments", "store-1"]
    assert check_index(grown, 3) == []
    with Index.open(grown, mode="w", verify=True) as index:
        assert len(index) == 19
        index.compact()
    assert sorted(entry.name for entry in grown.iterdir() if entry.is_dir()) == ["segments", "store-2"]
    assert garbage(grown) == set()
    build(grown, overwrite=True)
    assert opened_answers(grown, verify=True) == opened_answers(grown)


def test_it_takes_a_writer(grown):
    with Index.open(grown) as index, pytest.raises(InputError, match="open it with mode='w' to change it"):
        index.compact()


def test_a_reader_keeps_what_it_sees_and_goes_over_when_it_is_refreshed(grown):
    expected = opened_answers(grown)
    with Index.open(grown) as reader, Index.open(grown, refresh="auto") as follower:
        texts = [hit.text for hit in reader.search("zip read", weights={"bm25": 1})]
        held = reader.search("zip read", weights={"bm25": 1})
        with Index.open(grown, mode="w") as index:
            index.compact()
            assert answers(reader) == answers(follower) == expected
            assert reader.info()["bytes"]["free"] > 10**6  # of a store that has no name any more
            assert reader._environment is not index._environment
            assert follower._environment is index._environment
            assert not reader.refresh()  # the generation is the same
            assert reader._environment is index._environment
            index.delete(["0-001"])
            assert (len(reader), len(follower)) == (20, 19)
            assert reader.refresh()
            assert not reader.refresh()
            index.compact()
            index.compact()  # both have missed one
            index.delete(["0-002"])
            assert (len(follower), reader.refresh(), len(reader)) == (18, True, 18)
    assert [hit.text for hit in held] == texts
    assert sorted(entry.name for entry in grown.iterdir() if entry.is_dir()) == ["segments", "store-3"]


def test_a_reader_of_an_index_that_is_gone_keeps_what_it_has(grown):
    with Index.open(grown, refresh="auto") as follower:
        expected = answers(follower)
        shutil.rmtree(grown)
        assert answers(follower) == expected


FOLLOW = """
import threading
from m3search import Index
from small_index import answers, opened_answers
path = sys.argv[1]
expected, wrong, ends = opened_answers(path), [], threading.Event()
def ask(kind):
    with Index.open(path, refresh=kind) as index:
        while not ends.is_set():
            if kind == "manual":
                index.refresh()
            if answers(index) != expected:
                wrong.append(kind)
def open_again():
    while not ends.is_set():
        if opened_answers(path) != expected:
            wrong.append("opened")
threads = [threading.Thread(target=ask, args=(kind,)) for kind in ("auto", "manual")]
threads.append(threading.Thread(target=open_again))
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.readline()
ends.set()
for thread in threads:
    thread.join()
print("wrong", wrong)
"""


def test_processes_and_threads_read_while_it_is_compacted_again_and_again(grown):
    expected = opened_answers(grown)
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Process(FOLLOW, grown)) for _ in range(2)]
        assert [reader.line() for reader in readers] == ["ready"] * 2
        with Index.open(grown, mode="w", refresh="auto") as index, Index.open(grown, refresh="auto") as follower:
            thread = threading.Thread(target=lambda: [answers(follower) for _ in range(20)])
            thread.start()
            for _ in range(15):
                index.compact()
                assert answers(index) == expected
            thread.join()
        for reader in readers:
            reader.say("end")
        assert [reader.end() for reader in readers] == [(0, "wrong []\n")] * 2
    assert sorted(entry.name for entry in grown.iterdir() if entry.is_dir()) == ["segments", "store-15"]


# -- what goes wrong --


def test_without_room_it_says_what_is_needed_and_changes_nothing(grown, monkeypatch):
    expected, before = opened_answers(grown), size(grown)
    usage = shutil.disk_usage(grown)
    with Index.open(grown, mode="w") as index:
        with monkeypatch.context() as patched:
            patched.setattr(compaction.shutil, "disk_usage", lambda _: usage._replace(free=1000))
            with pytest.raises(
                StorageError, match=r"about [0-9,]+ bytes are needed and 1,000 are free; make room and try again"
            ):
                index.compact()
        assert size(grown) == before
        index.compact()
        assert answers(index) == expected


@pytest.mark.parametrize("limit", [8192, 40_960, 65_536])
def test_a_disk_that_fills_meanwhile_leaves_the_old_store(grown, limit):
    resource = pytest.importorskip("resource")
    expected, before = opened_answers(grown), size(grown)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Index.open(grown, mode="w") as index:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(StorageError, match=r"cannot (commit|open)"):
                index.compact()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert size(grown) == before
        assert not list(grown.glob("*.part"))
        assert answers(index) == expected
        index.compact()  # the old store is whole: make room and try again
        assert size(grown) < before
        assert answers(index) == expected


def test_a_rename_that_fails_poisons_the_writer(grown, monkeypatch):
    expected = opened_answers(grown)

    def failing(_):
        raise OSError(5, os.strerror(5))

    with Index.open(grown, mode="w") as index:
        with monkeypatch.context() as patched:
            patched.setattr(stores, "sync_directory", failing)
            with pytest.raises(StorageError, match="close this writer and open the index again"):
                index.compact()
        with pytest.raises(StorageError, match="failed before: close this writer"):
            index.delete(["0-001"])
        with pytest.raises(StorageError, match="failed before: close this writer"):
            index.compact()
        assert answers(index) == expected
    with Index.open(grown, mode="w", verify=True) as index:
        assert answers(index) == expected
        index.compact()
    assert len(list(grown.glob("store*"))) == 1


def test_a_new_store_that_cannot_be_opened_poisons_the_writer(grown, monkeypatch):
    expected = opened_answers(grown)

    def refused(*_, **__):
        raise StorageError("too many files are open")

    with Index.open(grown, mode="w") as index:
        with monkeypatch.context() as patched:
            patched.setattr(index_writer.Environment, "open", refused)
            with pytest.raises(StorageError, match="too many files"):
                index._writer.take_store(grown / "store")
        with pytest.raises(StorageError, match="failed before: close this writer"):
            index.delete(["0-001"])
        assert answers(index) == expected


def test_a_store_that_says_other_than_it_holds_is_not_copied(grown, monkeypatch):
    expected = opened_answers(grown)
    items = compaction._batches
    monkeypatch.setattr(compaction, "_batches", lambda cursor: list(items(cursor))[1:])
    monkeypatch.setattr(compaction, "_BYTES_A_TRANSACTION", 20_000)
    with Index.open(grown, mode="w") as index:
        with pytest.raises(CorruptionError, match=r"says that it has .* keys and has .*: check the index"):
            index.compact()
        assert answers(index) == expected
    assert not list(grown.glob("*.part"))


def test_what_a_build_has_begun_is_kept(grown):
    with IndexWriter.for_build(grown, overwrite=True) as writer:
        writer.stage(writer.manifest().config)
    with Index.open(grown, mode="w") as index:
        index.compact()
        assert index._writer.manifest(BUILDING_KEY) is not None
    assert opened_answers(grown, verify=True)


# -- kills --

DIE = """
import os, signal, warnings
from m3search import Index
from small_index import answers
warnings.simplefilter("ignore", DeprecationWarning)
CALLS = {"rename", "fsync", "commit", "put", "rmtree", "unlink", "rmdir", "mkdir", "open", "close"}
point, seen = int(sys.argv[2]), 0
index = Index.open(sys.argv[1], mode="w")
def count(frame, event, argument):
    global seen
    if event in ("c_call", "c_return") and getattr(argument, "__name__", "") in CALLS:
        if seen == point:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
sys.setprofile(count)
index.compact()
sys.setprofile(None)
print(seen)
"""


def test_a_kill_at_any_step_leaves_one_store_whole(grown, tmp_path):
    expected, before = opened_answers(grown), size(grown)
    path = tmp_path / "k"

    def death(point):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(grown, path)
        with Process(DIE, path, point) as process:
            return process.end()

    code, said = death(10**9)
    assert code == 0
    calls = int(said)
    assert calls > 100
    step = 1 if os.environ.get("M3SEARCH_TORTURE") else max(calls // 12, 1)
    sizes = set()
    for point in range(0, calls, step):
        assert death(point)[0] == -signal.SIGKILL
        assert opened_answers(path, verify=True) == expected
        sizes.add(stores.store_of(path).name)
        with warnings.catch_warnings(), Index.open(path, mode="w") as index:
            assert len(list(path.glob("store*"))) == 1  # what was left is gone
            index.compact()
            assert answers(index) == expected
        assert size(path) < before
    assert sizes == {"store", "store-1"}
