"""The writer: one at a time, durable, and whatever fails leaves what was served as it was."""

import os
import re
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
from small_index import Process, answers, build, corpus, garbage, opened_answers

from m3search import Document, Encodings, Index
from m3search.errors import (
    CorruptionError,
    DocumentError,
    EncodingsError,
    IndexExistsError,
    IndexFormatError,
    IndexNotFoundError,
    InputError,
    LockedError,
    StorageError,
)
from m3search.storage import IndexConfig, IndexWriter, PassageBatch, check_index, manifest
from m3search.storage.keys import BUILDING_KEY, MANIFEST_KEY

HOLD_THE_LOCK = """
from m3search import Index
with Index.open(sys.argv[1], mode="w"):
    print("locked", flush=True)
    sys.stdin.readline()
"""


# -- one at a time --


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with Process(HOLD_THE_LOCK, tmp_path / "i") as holder:
        assert holder.line() == "locked"
        told = (
            f"{re.escape(str(tmp_path / 'i'))} is being written by process {holder.pid} on .*: wait for it, or end it"
        )
        with pytest.raises(LockedError, match=told):
            Index.open(tmp_path / "i", mode="w")
        with pytest.raises(LockedError, match=told):
            build(tmp_path / "i", overwrite=True)
        assert opened_answers(tmp_path / "i") == expected
        holder.kill()
    with Index.open(tmp_path / "i", mode="w") as index:  # the system releases a dead writer's lock
        with pytest.raises(LockedError, match=f"process {os.getpid()} "):
            Index.open(tmp_path / "i", mode="w")
        assert answers(index) == expected


@pytest.mark.parametrize("holder", ["", "no json", "[]", "{}"])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path, holder):
    build(tmp_path / "i")
    with Index.open(tmp_path / "i", mode="w"):
        (tmp_path / "i" / "write.holder").write_text(holder)
        with pytest.raises(LockedError, match="is being written by another process"):
            Index.open(tmp_path / "i", mode="w")


def test_any_thread_may_close_a_writer(tmp_path):
    build(tmp_path / "i")
    index = Index.open(tmp_path / "i", mode="w")
    thread = threading.Thread(target=index.close)
    thread.start()
    thread.join()
    Index.open(tmp_path / "i", mode="w").close()
    assert not (tmp_path / "i" / "write.holder").exists()


# -- where a build may go --


def test_a_build_does_not_replace_what_is_there_unasked(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with pytest.raises(IndexExistsError, match="holds an index already: pass overwrite=True to replace it"):
        build(tmp_path / "i", seed=1)
    assert opened_answers(tmp_path / "i") == expected
    build(tmp_path / "i", seed=1, overwrite=True)
    assert opened_answers(tmp_path / "i") != expected
    with Index.open(tmp_path / "i") as index:
        assert index.info()["generation"] == 2


def test_a_build_takes_no_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IndexExistsError, match="is a file: name a folder for the index"):
        build(tmp_path / "file", overwrite=True)
    for name in ("notes.txt", "segments/mine"):
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
        with pytest.raises(IndexExistsError, match="is no index and not empty: name another folder"):
            build(folder, overwrite=True)
        assert (folder / name).read_text() == "mine"
        assert [entry.name for entry in folder.iterdir()] == [name.split("/")[0]]
    (tmp_path / "empty").mkdir()
    build(tmp_path / "empty")
    assert len(opened_answers(tmp_path / "empty")[1]) == 20


def test_an_index_that_was_never_finished_is_none(tmp_path):
    with IndexWriter.for_build(tmp_path / "i", overwrite=False) as writer:
        writer.stage(IndexConfig(dense_dim=2))
        with pytest.raises(IndexNotFoundError, match="holds no index that was finished: build one there"):
            Index.open(tmp_path / "i")
    with pytest.raises(IndexNotFoundError, match="is not there: build one there"):
        Index.open(tmp_path / "nothing")
    build(tmp_path / "i")
    assert len(opened_answers(tmp_path / "i")[1]) == 20


@pytest.mark.parametrize(
    ("name", "said"), [("a\0b", "has a character of code 0"), ("x" * 300, "is too long for a path")]
)
def test_a_name_that_no_folder_can_have(tmp_path, name, said):
    place = f"{tmp_path}/{name}"
    build(tmp_path / "i")
    with Index.open(tmp_path / "i") as index, pytest.raises(InputError, match=said):
        index.save(place)
    uses = (Index.open, build, check_index, lambda path: Index.rebuild(tmp_path / "i", path))
    for use in (*uses, lambda path: Index.rebuild(path, tmp_path / "other")):
        with pytest.raises(InputError, match=said):
            use(place)
    assert [entry.name for entry in tmp_path.iterdir()] == ["i"]


def test_a_stage_must_have_begun(tmp_path):
    with IndexWriter.for_build(tmp_path / "i", overwrite=False) as writer:
        with pytest.raises(StorageError, match="no build has begun in"):
            writer.new_segment()
        with pytest.raises(StorageError, match="no build has begun in"):
            writer.publish()


# -- damage and newer versions --


@pytest.mark.parametrize("mode", ["r", "w"])
def test_an_index_of_a_newer_version_says_what_to_do_and_is_not_overwritten(tmp_path, monkeypatch, mode):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT_VERSION", manifest.FORMAT_VERSION + 1)
        with IndexWriter.for_build(tmp_path / "i", overwrite=False) as writer:
            writer.stage(IndexConfig())
            with writer.environment.write() as transaction:
                transaction.put(MANIFEST_KEY, manifest.Manifest(1, IndexConfig()).pack(MANIFEST_KEY))
    with pytest.raises(
        IndexFormatError,
        match=f"reads up to {manifest.FORMAT_VERSION}: upgrade",
    ):
        Index.open(tmp_path / "i", mode=mode)
    before = (tmp_path / "i" / "store" / "data.mdb").read_bytes()
    with pytest.raises(IndexFormatError, match="upgrade m3search"):
        build(tmp_path / "i", overwrite=True)
    assert (tmp_path / "i" / "store" / "data.mdb").read_bytes() == before


def test_a_damaged_manifest_is_found_and_can_be_overwritten(tmp_path):
    build(tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer, writer.environment.write() as transaction:
        blob = bytearray(transaction.get(MANIFEST_KEY))
        blob[len(blob) // 2] ^= 1
        transaction.put(MANIFEST_KEY, bytes(blob))
    for attempt in (Index.open, build):
        with pytest.raises(
            CorruptionError, match=r"the manifest of .* does not match its checksum: restore the index or build"
        ):
            attempt(tmp_path / "i")
    build(tmp_path / "i", seed=1, overwrite=True)
    build(tmp_path / "other", seed=1)
    assert opened_answers(tmp_path / "i", verify=True) == opened_answers(tmp_path / "other")
    assert garbage(tmp_path / "i") == set()


def test_a_damaged_stage_is_discarded(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer, writer.environment.write() as transaction:
        transaction.put(BUILDING_KEY, b"nothing of the kind")
    assert opened_answers(tmp_path / "i") == expected
    build(tmp_path / "i", seed=1, overwrite=True)
    assert opened_answers(tmp_path / "i", verify=True) != expected


@pytest.mark.parametrize("length", [0, 100, 8192, 40_960, None])
def test_a_store_that_cannot_be_opened_is_overwritten_only_when_asked(tmp_path, length):
    build(tmp_path / "i")
    data = tmp_path / "i" / "store" / "data.mdb"
    data.write_bytes(bytes(40_960) if length is None else data.read_bytes()[:length])
    files = sorted((tmp_path / "i" / "segments").iterdir())
    with pytest.raises(
        CorruptionError, match=r"(cut off|is damaged).*: restore the index or build it again|; restore the"
    ):
        Index.open(tmp_path / "i")
    with pytest.raises((CorruptionError, IndexExistsError), match=r"cut off|is damaged|is no index and not empty"):
        build(tmp_path / "i")
    assert sorted((tmp_path / "i" / "segments").iterdir()) == files
    build(tmp_path / "i", seed=1, overwrite=True)
    build(tmp_path / "other", seed=1)
    assert opened_answers(tmp_path / "i", verify=True) == opened_answers(tmp_path / "other")
    assert garbage(tmp_path / "i") == set()


def test_a_build_that_was_killed_at_its_first_step_is_begun_anew(tmp_path):
    (tmp_path / "i" / "store").mkdir(parents=True)
    for name in ("write.lock", "write.holder", "store/data.mdb", "store/lock.mdb"):
        (tmp_path / "i" / name).touch()
    with pytest.raises(CorruptionError, match="cut off"):
        Index.open(tmp_path / "i")
    build(tmp_path / "i")
    assert len(opened_answers(tmp_path / "i", verify=True)[1]) == 20


# -- builds that fail --


def failing(documents, after, error):
    yield from documents[:after]
    raise error


@pytest.mark.parametrize("after", [0, 1, 8, 19])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_build_that_fails_leaves_nothing_but_what_stood_there(tmp_path, after, overwrite):
    before = None
    if overwrite:
        build(tmp_path / "i")
        before = opened_answers(tmp_path / "i")
    documents, encodings = corpus(20, seed=1)
    for error in (DocumentError("this one is bad"), EncodingsError("and these are")):
        with pytest.raises(type(error)):
            Index.build(
                failing(documents, after, error),
                tmp_path / "i",
                encoder=None,
                encodings=(rows_of(encodings, number) for number in range(20)),
                colbert="int8",
                segment_size=4,
                overwrite=overwrite,
            )
    if overwrite:
        assert opened_answers(tmp_path / "i", verify=True) == before
        with IndexWriter(tmp_path / "i") as writer:
            assert writer.manifest(BUILDING_KEY) is None
            assert garbage(tmp_path / "i", writer) == set()
    else:
        assert not (tmp_path / "i").exists()
    build(tmp_path / "i", overwrite=overwrite)  # and the lock is free


def rows_of(encodings, document):
    start, stop = (int(end) for end in encodings.offsets[document : document + 2])
    rows = encodings.rows(start, stop)
    return Encodings(rows.dense, rows.lexical, rows.colbert, np.array([0, stop - start]))


def test_a_failed_build_in_an_own_folder_removes_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        Index.build(failing(["a", "b"], 1, ZeroDivisionError()), encoder=None)
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_index_goes_when_it_is_closed_and_its_copy_stays(tmp_path):
    index = Index.build(["zip archive", "read a file"], encoder=None)
    path = index.path
    index.save(tmp_path / "kept")
    hits = index.search("zip")
    assert path.is_dir()
    index.close()
    assert not path.exists()
    assert hits[0].text == "zip archive"
    with Index.open(tmp_path / "kept") as kept:
        assert [document.text for document in kept] == ["zip archive", "read a file"]


def test_a_document_that_cannot_be_stored_ends_its_segment(tmp_path):
    with IndexWriter.for_build(tmp_path / "i", overwrite=False) as writer:
        writer.stage(IndexConfig(dense_dim=2))
        segment = writer.new_segment()
        huge = PassageBatch([Document("big", "x" * 2**26)], np.array([0, 0]), np.empty((0, 2), np.int64))
        with pytest.raises(InputError, match=r"document 'big' cannot be stored: a record of .* bytes is over"):
            segment.append(huge)
        segment.discard()
        assert writer.directory.names() == []


LIMITED = """
import resource
from small_index import build
from m3search import Index, errors
path, limit, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if what == "build":
        build(path, 30, seed=1, overwrite=True)
    else:
        with Index.open(path, mode="w") as index:
            index.delete(["0-001", "0-015"])
    print("done")
except errors.StorageError as error:
    print(type(error).__name__, str(error)[:60], "|", str(error)[-40:])
"""


@pytest.mark.parametrize("what", ["build", "delete"])
def test_a_full_disk_is_an_error_and_leaves_what_was_served(tmp_path, what):
    build(tmp_path / "new", 30, seed=1)
    build(tmp_path / "i")
    old, new = opened_answers(tmp_path / "i"), opened_answers(tmp_path / "new")
    size = (tmp_path / "i" / "store" / "data.mdb").stat().st_size
    told = set()
    for limit in (300, 1000, 4096, 8192, size // 2, size, size + 40_960, size + 2**18, 2**30):
        with Process(LIMITED, tmp_path / "i", limit, what) as process:
            code, out = process.end()
        assert code == 0
        told.add(out.split(" |")[0])
        if out == "done\n":
            break
        assert out.startswith("StorageError cannot ")
        assert opened_answers(tmp_path / "i", verify=True) == old
    assert limit >= size  # and not before
    if what == "build":
        assert opened_answers(tmp_path / "i", verify=True) == new
    else:
        with Index.open(tmp_path / "i", verify=True) as index:
            assert len(index) == 18
    assert any("cannot commit to" in one for one in told)
    build(tmp_path / "i", 30, seed=1, overwrite=True)
    assert garbage(tmp_path / "i") == set()


LIMITED_VECTORS = """
import resource
import numpy as np
from m3search import Encodings, Index, errors
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    vectors = np.ones((100, 1000), np.float32)
    Index.build(["x"] * 100, sys.argv[1], encoder=None, encodings=Encodings(vectors), bm25=False, overwrite=True)
except errors.StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("stood", [False, True])
def test_vectors_that_do_not_fit_on_the_disk_leave_what_was_served(tmp_path, stood):
    if stood:
        build(tmp_path / "i")
        old = opened_answers(tmp_path / "i")
    with Process(LIMITED_VECTORS, tmp_path / "i") as process:
        code, out = process.end()
    assert code == 0
    assert re.fullmatch(r"cannot write .*/i/segments/.*vectors: .*; make room and try again\n", out)
    if stood:
        assert opened_answers(tmp_path / "i", verify=True) == old
        assert garbage(tmp_path / "i") == set()
    else:
        assert not (tmp_path / "i").exists()


def test_after_a_commit_that_failed_a_writer_does_nothing_more(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with IndexWriter(tmp_path / "i") as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        try:
            with pytest.raises(StorageError, match=r"cannot commit to .* see that the disk has space and works"):
                writer.delete(["0-001"])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with pytest.raises(
            StorageError, match=r"a commit to .* failed before: close this writer and open the index again"
        ):
            writer.delete(["0-001"])
    assert opened_answers(tmp_path / "i", verify=True) == expected
    with IndexWriter(tmp_path / "i") as writer:
        assert writer.delete(["0-001"]) == 1


# -- garbage --


def test_garbage_goes_and_what_a_manifest_names_stays(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer:
        writer.stage(IndexConfig(dense_dim=2))
        segment = writer.new_segment()
        segment.append(
            PassageBatch([Document("a", "x")], np.array([0, 1]), np.array([[0, 1]]), np.ones((1, 2), np.float32))
        )
        writer.add_segment(segment.seal())
        staged = writer.manifest(BUILDING_KEY).segments
        left = writer.new_segment()  # a file under its temporary name
        (tmp_path / "i" / "segments" / f"{'0f' * 16}.vectors").write_bytes(b"of nobody")
        writer.collect()
        left.discard()
        assert garbage(tmp_path / "i", writer) == set()
        assert [info.uuid for info in writer.manifest(BUILDING_KEY).segments] == [info.uuid for info in staged]
        assert f"{staged[0].uuid}.vectors" in writer.directory.names()
        writer.discard_stage()
        assert f"{staged[0].uuid}.vectors" not in writer.directory.names()
    assert garbage(tmp_path / "i") == set()
    assert opened_answers(tmp_path / "i", verify=True) == expected


def test_garbage_goes_in_transactions_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr("m3search.storage.garbage._DELETES_A_TRANSACTION", 3)
    build(tmp_path / "i")
    build(tmp_path / "i", seed=1, overwrite=True)
    build(tmp_path / "other", seed=1)
    assert garbage(tmp_path / "i") == set()
    assert opened_answers(tmp_path / "i", verify=True) == opened_answers(tmp_path / "other")


def test_deleting_nothing_is_no_commit_and_an_unknown_id_deletes_nothing(tmp_path):
    build(tmp_path / "i")
    with Index.open(tmp_path / "i", mode="w") as index:
        before = answers(index)
        assert index.delete([]) == 0
        with pytest.raises(InputError, match="there is no document 'nobody' to delete"):
            index.delete(["0-001", "nobody"])
        assert index.info()["generation"] == 1
        assert answers(index) == before
        assert index.delete(["0-001", "0-001"]) == 1
        assert index.info()["generation"] == 2
        with pytest.raises(InputError, match="there is no document '0-001' to delete"):
            index.delete(["0-001"])
    assert Path(tmp_path / "i" / "write.lock").exists()
