"""The store: opened once in a process, waiting for nobody, and every hazard of LMDB met."""

import contextlib
import gc
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import pytest
from small_index import Process, answers, build, opened_answers

from m3search import Index
from m3search.errors import CorruptionError, IndexNotFoundError, StorageError
from m3search.storage import Environment, IndexWriter, Snapshot, environment

HOLD_A_WRITE_TRANSACTION = """
from pathlib import Path
from m3search.storage import IndexWriter
with IndexWriter(Path(sys.argv[1])) as writer, writer.environment.write() as transaction:
    transaction.put(b"rother", b"x")
    print("held", flush=True)
    sys.stdin.readline()
"""
OPEN_AND_SEARCH = """
from small_index import opened_answers
print(len(opened_answers(sys.argv[1])[1]))
"""


def test_opening_and_searching_does_not_wait_for_a_write_transaction_elsewhere(tmp_path):
    build(tmp_path / "i")
    with Process(HOLD_A_WRITE_TRANSACTION, tmp_path / "i") as holder:
        assert holder.line() == "held"
        with Process(OPEN_AND_SEARCH, tmp_path / "i") as reader:
            assert reader.end(timeout=60) == (0, "20\n")
        holder.say("done")
        assert holder.end() == (0, "")


# -- one in a process --


def test_a_store_opened_again_through_a_link_is_the_same_one(tmp_path):
    build(tmp_path / "i")
    (tmp_path / "link").symlink_to(tmp_path / "i", target_is_directory=True)
    with Index.open(tmp_path / "i") as index, Index.open(tmp_path / "link") as again:
        assert again._environment is index._environment
        assert answers(again) == answers(index)
    assert opened_answers(Path(tmp_path / "link")) == opened_answers(tmp_path / "i")


def test_a_new_index_is_not_mistaken_for_a_removed_one_that_hits_still_hold(tmp_path):
    path, held = tmp_path / "i", []
    for number in range(3):
        with Index.build([f"zip {number}"], path, encoder=None) as index:
            assert [document.text for document in index] == [f"zip {number}"]
            held.append(index.search("zip"))
        # the folder stays, as its number does where a file system gives it to the next folder
        shutil.rmtree(path / "segments", ignore_errors=True)
        for file in (path / "store").iterdir():
            file.unlink()
    assert [hits[0].text for hits in held] == [f"zip {number}" for number in range(3)]


def test_the_last_user_closes(tmp_path):
    build(tmp_path / "i")
    one = Environment.open(tmp_path / "i" / "store")
    two = Environment.open(tmp_path / "i" / "store")
    assert one is two
    snapshot = Snapshot.latest(one, tmp_path / "i")
    one.close()
    two.close()
    assert not one.closed
    snapshot.release()
    assert one.closed
    with pytest.raises(StorageError, match="is closed: open the index again"):
        one.begin_read()


READ_WHILE_GARBAGE_IS_COLLECTED = """
import gc
from m3search import Index
with Index.open(sys.argv[1]) as index:
    gc.freeze()
    gc.collect()
    gc.set_threshold(1, 1, 1)  # nearly everywhere, and everything
    for number in range(200):
        hits = list(index.search("zip read", weights={"bm25": 1}))
        holder = []
        holder.append((holder, index.search("zip", weights={"bm25": 1})))
        shift = [[] for _ in range(number % 17)]  # the collector comes every so many allocations
        holder = None  # from here on only it can end the snapshot
        if number % 2:
            assert all(hit.text for hit in hits)
        else:
            Index.open(sys.argv[1]).close()
print("done")
"""


def test_a_snapshot_that_the_garbage_collector_ends_blocks_nobody(tmp_path):
    build(tmp_path / "i")
    with Process(READ_WHILE_GARBAGE_IS_COLLECTED, tmp_path / "i") as process:
        assert process.end(timeout=100) == (0, "done\n")


def test_many_threads_open_search_and_close(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    gc.collect()
    others, wrong = len(environment._open), []

    def work():
        wrong.extend(1 for _ in range(4) if opened_answers(tmp_path / "i") != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    gc.collect()
    assert len(environment._open) == others


FORK = """
import os, warnings
from m3search import Index, errors
from small_index import answers
warnings.simplefilter("ignore", DeprecationWarning)
index = Index.open(sys.argv[1])
expected, hits = answers(index), index.search("zip read", weights={"bm25": 1})
child = os.fork()
if child == 0:
    index_of = lambda: Index.open(sys.argv[1])
    for use in (lambda: index.search("zip", weights={"bm25": 1}), lambda: hits[0].text, lambda: len(index), index_of):
        try:
            use()
        except errors.ClosedError as error:
            print(error, flush=True)
    with Index.open(sys.argv[2]) as other:
        print(answers(other) == expected, flush=True)
    index.close()
    sys.exit()
print(os.waitpid(child, 0)[1], flush=True)
print(answers(index) == expected and bool(hits[0].text), flush=True)
index.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_was_opened_before_a_fork_is_closed_in_the_child(tmp_path):
    for name in ("i", "other"):
        build(tmp_path / name)
    with Process(FORK, tmp_path / "i", tmp_path / "other") as process:
        code, out = process.end()
    told = (
        f"the store {tmp_path / 'i' / 'store'} was open when this process was forked, and LMDB cannot be used across a fork: "
        f"start processes with the method 'spawn', or open the index after the fork only"
    )
    assert code == 0
    assert out.splitlines() == [told] * 4 + ["True", "0", "True"]


# -- sizes --

CUT = """
from pathlib import Path
from m3search import Index, errors
data = Path(sys.argv[1]) / "store" / "data.mdb"
good = data.read_bytes()
for length in [*range(0, len(good), 4096), *range(1, len(good), 9001), len(good) - 1]:
    data.write_bytes(good[:length])
    try:
        Index.open(sys.argv[1], verify=True)
    except errors.CorruptionError as error:
        assert "cut off" in str(error) and "restore the index or build it again" in str(error), error
        print(length, flush=True)
data.write_bytes(good)
print("whole", len(Index.open(sys.argv[1], verify=True)))
"""


def test_a_cut_store_is_damage_and_no_bus_error(tmp_path):
    build(tmp_path / "i")
    size = (tmp_path / "i" / "store" / "data.mdb").stat().st_size
    with Process(CUT, tmp_path / "i") as process:  # it would be killed by SIGBUS
        code, out = process.end()
    assert code == 0
    assert len(out.splitlines()) == len(range(0, size, 4096)) + len(range(1, size, 9001)) + 2
    assert out.splitlines()[-1] == "whole 20"


DIE_AFTER_A_COMMIT = """
import os, signal
from pathlib import Path
from m3search.storage import Environment, IndexWriter
Environment._shorten = lambda self: os.kill(os.getpid(), signal.SIGKILL)
with IndexWriter(Path(sys.argv[1])) as writer, writer.environment.write(deletes=True) as transaction:
    for change in (lambda key: transaction.put(key, bytes(1500)), transaction.delete):
        for number in range(200):
            change(b"x%d" % number)
"""


def test_a_store_is_long_enough_also_when_its_writer_is_killed_after_a_commit(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with Process(DIE_AFTER_A_COMMIT, tmp_path / "i") as process:
        assert process.end()[0] == -signal.SIGKILL
    assert opened_answers(tmp_path / "i", verify=True) == expected
    build(tmp_path / "i", seed=1, overwrite=True)
    with Index.open(tmp_path / "i") as index:
        store = index._environment.info()
    assert store["file"] == store["used"]


@pytest.mark.parametrize("count", [1, 10, 100, 500])
def test_a_healthy_store_is_never_shorter_than_its_last_page_says(tmp_path, count):
    build(tmp_path / "i")
    data = tmp_path / "i" / "store" / "data.mdb"
    with IndexWriter(tmp_path / "i") as writer:
        store = writer.environment
        for _ in range(3):  # pages that are taken and given back are not written, and may end the file
            with store.write(deletes=True) as transaction:
                for number in range(count):
                    transaction.put(b"x%d" % number, bytes(1500))
                for number in range(count):
                    transaction.delete(b"x%d" % number)
            assert data.stat().st_size == store.info()["used"]
    assert len(opened_answers(tmp_path / "i", verify=True)[1]) == 20


def test_a_transaction_that_fails_leaves_the_file_as_long_as_it_was(tmp_path):
    build(tmp_path / "i")
    data = tmp_path / "i" / "store" / "data.mdb"
    before = data.read_bytes()
    with IndexWriter(tmp_path / "i") as writer:
        with contextlib.suppress(ZeroDivisionError), writer.environment.write(deletes=True) as transaction:
            transaction.put(b"x", b"y")
            transaction.delete(b"x", 1 / 0)
        assert data.read_bytes() == before


def small_maps(monkeypatch):
    monkeypatch.setattr(environment, "_MAP_SIZE", 2**20)
    monkeypatch.setattr(environment, "_MAP_TIMES", 0)


GROW = """
from pathlib import Path
from m3search.storage import IndexWriter, environment
environment._MAP_SIZE, environment._MAP_TIMES = 2**20, 0
with IndexWriter(Path(sys.argv[1])) as writer:
    for number in range(int(sys.argv[2])):
        with writer.environment.write() as transaction:
            transaction.put(b"x%d" % number, bytes(100_000))
    print(writer.environment.info()["map"])
"""


def test_the_map_grows_between_transactions_and_other_processes_follow(tmp_path, monkeypatch):
    small_maps(monkeypatch)
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        with Process(GROW, tmp_path / "i", 30) as process:
            assert process.end() == (0, f"{2**23}\n")
        assert answers(index) == expected
        with pytest.raises(StorageError, match=r"has outgrown its map: close this index everywhere in this process"):
            Index.open(tmp_path / "i")
        assert answers(index) == expected
    assert opened_answers(tmp_path / "i") == expected


def test_a_store_follows_a_larger_map_when_nobody_reads(tmp_path, monkeypatch):
    small_maps(monkeypatch)
    build(tmp_path / "i")
    store = Environment.open(tmp_path / "i" / "store")
    with Process(GROW, tmp_path / "i", 30) as process:
        assert process.end()[0] == 0
    with Snapshot.latest(store, tmp_path / "i") as snapshot:
        assert snapshot.documents == 20
    assert store.info()["map"] == 2**23
    store.close()


def test_a_full_map_says_what_to_do(tmp_path, monkeypatch):
    small_maps(monkeypatch)
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with Index.open(tmp_path / "i", mode="w") as index:
        message = "has reached its map size: close this index's readers in this process, try again"
        with pytest.raises(StorageError, match=message), index._environment.write() as transaction:
            transaction.put(b"x", bytes(2**21))
        assert answers(index) == expected
    assert opened_answers(tmp_path / "i", verify=True) == expected


def test_a_map_has_room_for_many_times_its_file_from_the_start(tmp_path, monkeypatch):
    """It cannot grow while this process reads."""
    build(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        assert index._environment.info()["map"] == 256 * 2**30
    monkeypatch.setattr(environment, "_MAP_SIZE", 2**24)
    with IndexWriter(tmp_path / "i") as writer, writer.commit() as transaction:
        transaction.put(b"rother", bytes(10**7))
    with Index.open(tmp_path / "i"), Index.open(tmp_path / "i", mode="w") as index:
        assert index._environment.info()["map"] > 8 * 10**7
        for _ in range(3):  # it would fill a map that is twice its file
            with index._writer.commit() as transaction:
                transaction.put(b"rother", bytes(10**7))
        assert len(index) == 20


FEW_ADDRESSES = """
import resource
from m3search import Index
from small_index import opened_answers
opened_answers(sys.argv[1])  # with what is loaded late
resource.setrlimit(resource.RLIMIT_AS, (40 * 2**30, 40 * 2**30))
with Index.open(sys.argv[1], mode="w") as index:
    print(len(index), index._environment.info()["map"] // 2**30)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not limit addresses")
def test_where_addresses_are_few_the_map_is_smaller(tmp_path):
    build(tmp_path / "i")
    with Process(FEW_ADDRESSES, tmp_path / "i") as process:
        assert process.end() == (0, "20 16\n")


def test_what_does_not_fit_is_refused_beforehand_with_what_is_needed_and_free(tmp_path):
    build(tmp_path / "i")
    needed = shutil.disk_usage(tmp_path).total
    with IndexWriter(tmp_path / "i") as writer:
        told = rf"the disk is full, {needed:,} bytes are needed and [0-9,]+ are free; make room and try again"
        with pytest.raises(StorageError, match=told), writer.commit(needed=needed):
            pass
        assert not writer.failed  # nothing was begun
        assert writer.delete(["0-001"]) == 1


# -- readers --

HOLD_A_SNAPSHOT = """
from m3search import Index
index = Index.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


def test_a_killed_reader_does_not_keep_pages_from_being_used_again(tmp_path):
    build(tmp_path / "i")
    with Process(HOLD_A_SNAPSHOT, tmp_path / "i") as reader:
        assert reader.line() == "open"
        with IndexWriter(tmp_path / "i") as writer:
            assert f"{reader.pid} " in writer.environment.env.readers()
            reader.kill()
            sizes = []
            for number in range(30):
                with writer.environment.write() as transaction:
                    transaction.put(b"x", bytes([number]) * 200_000)
                sizes.append(writer.environment.info()["used"])
            assert f"{reader.pid} " not in writer.environment.env.readers()
    assert sizes[-1] == sizes[4]


# -- what is no store --


def test_a_folder_without_a_store_is_no_index(tmp_path):
    with pytest.raises(IndexNotFoundError, match=f"{re.escape(str(tmp_path))} holds no index: build one there"):
        Environment.open(tmp_path / "store")


@pytest.mark.parametrize("contents", [bytes(40_960), b"not a database at all" * 1000], ids=["zeros", "text"])
def test_a_store_that_lmdb_cannot_open_is_damaged(tmp_path, contents):
    build(tmp_path / "i")
    (tmp_path / "i" / "store" / "data.mdb").write_bytes(contents)
    with pytest.raises(CorruptionError, match=r"is damaged .*: restore the index or build it again"):
        Index.open(tmp_path / "i")
