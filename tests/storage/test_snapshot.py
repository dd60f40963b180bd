"""Generations: what a snapshot shows stands still, the dead are nowhere, and a copy holds one generation whole."""

import shutil
import threading

import numpy as np
import pytest
from small_index import BLENDS, WORDS, Process, answers, build, corpus, garbage, opened_answers

from m3search import Index
from m3search.errors import ClosedError, CorruptionError, IndexExistsError, StorageError
from m3search.retrieval import ALL, Query
from m3search.retrieval.bm25 import TermStatistics
from m3search.storage import Environment, IndexWriter, Snapshot

DELETE = """
from m3search import Index
with Index.open(sys.argv[1], mode="w") as index:
    print(index.delete(sys.argv[2:]))
"""
OVERWRITE = """
from small_index import build
build(sys.argv[1], seed=int(sys.argv[2]), overwrite=True)
"""


def run(script, *arguments):
    with Process(script, *arguments) as process:
        code, out = process.end()
    assert code == 0
    return out


# -- deletes, from the first day --


def query():
    encodings = corpus(1, seed=99)[1].rows(0, 1)
    return Query.of(encodings, dict.fromkeys(WORDS, 1))


def everything(snapshot):
    """Per leg: the document of every passage that an unbounded search finds, with its score."""
    asked, found = query(), {}
    for name, leg in ALL.items():
        candidates = leg.search(asked, snapshot, snapshot.allowed(None), 10_000)
        segments = [snapshot.segments[owner] for owner in snapshot.owners(candidates.docids)]
        found[name] = [
            (segment.id_of(int(segment.documents_of[docid - segment.base])), round(score, 12))
            for segment, docid, score in zip(
                segments, candidates.docids.tolist(), candidates.scores.tolist(), strict=True
            )
        ]
        exact = leg.complete(asked, snapshot, candidates.docids)
        assert candidates.scores == pytest.approx(exact, abs=1e-6)
    return found


@pytest.mark.parametrize("segment_size", [1, 7, 1000])
def test_the_dead_are_in_no_leg_no_statistic_and_no_iteration(tmp_path, segment_size):
    documents, encodings = corpus(20)
    dead = [documents[number].id for number in (0, 3, 4, 11, 19)]
    build(tmp_path / "i", segment_size=segment_size)
    with IndexWriter(tmp_path / "i") as writer:
        assert writer.delete(dead) == 5
        # an index that never had them: the same documents with the same vectors
        alive = [number for number, document in enumerate(documents) if document.id not in dead]
        parts = [encodings.rows(*encodings.offsets[number : number + 2].tolist()) for number in alive]
        sizes = [len(part) for part in parts]
        Index.build(
            [documents[number] for number in alive],
            tmp_path / "without",
            encoder=None,
            encodings=[with_offsets(part) for part in parts],
            colbert="int8",
        ).close()
        with (
            IndexWriter(tmp_path / "without") as other,
            Snapshot.latest(writer.environment, tmp_path / "i", verify=True) as snapshot,
            Snapshot.latest(other.environment, tmp_path / "without") as expected,
        ):
            assert snapshot.manifest.generation == 2
            assert sum(info.deleted for info in snapshot.manifest.segments) == 5
            assert snapshot.documents == expected.documents == 15
            assert snapshot.passages == expected.passages == sum(sizes)
            assert snapshot.bm25_length == expected.bm25_length
            statistics, truth = (TermStatistics.of(query(), one) for one in (snapshot, expected))
            assert statistics.average == truth.average
            assert statistics.weights.tolist() == truth.weights.tolist()  # which are N and df
            live = [segment.id_of(number) for segment, number in snapshot.live_documents()]
            assert live == [documents[number].id for number in alive]
            assert not any(snapshot.find(name) for name in dead)
            found, wanted = everything(snapshot), everything(expected)
            for leg in ALL:
                assert sorted(found[leg]) == sorted(wanted[leg])
                assert not {name for name, _ in found[leg]} & set(dead)
            assert len(found["dense"]) == len(found["colbert"]) == sum(sizes)
            allowed = snapshot.allowed([*dead, documents[1].id])
            assert sum(int(np.unpackbits(bits).sum()) for bits in allowed) == sizes[0]
            assert sum(bits is not None for bits in snapshot.allowed(None)) == len(
                {s.info.uuid for s in snapshot.segments if s.info.deleted}
            )


def with_offsets(part):
    return type(part)(part.dense, part.lexical, part.colbert, np.array([0, len(part)]))


def test_a_delete_outlives_its_process_and_is_counted(tmp_path):
    build(tmp_path / "i")
    for generation, name in enumerate(("0-001", "0-019", "0-007"), start=2):
        assert run(DELETE, tmp_path / "i", name) == "1\n"
        with Index.open(tmp_path / "i", verify=True) as index:
            assert index.info()["generation"] == generation
            assert index.info()["deleted"] == generation - 1
            assert index.get(name) is None
            assert name not in index
            assert name not in [document.id for document in index]
            for weights in BLENDS:
                encodings = corpus(1, seed=99)[1].rows(0, 1)
                assert name not in index.search("read the zip file", 100, weights=weights, encodings=encodings).ids


def test_all_documents_may_be_deleted(tmp_path):
    build(tmp_path / "i")
    with Index.open(tmp_path / "i", mode="w") as index:
        assert index.delete([document.id for document in index]) == 20
        found, documents = answers(index)
        assert documents == []
        assert found == [[]] * len(BLENDS)
        assert len(index) == 0
    with Index.open(tmp_path / "i", verify=True) as index:
        assert list(index) == []


# -- generations --


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_snapshot_keeps_answering_while_newer_generations_are_committed(tmp_path, elsewhere):
    build(tmp_path / "i")
    old = opened_answers(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        for seed in (1, 2, 3):
            if elsewhere:
                run(OVERWRITE, tmp_path / "i", seed)
            else:
                build(tmp_path / "i", seed=seed, overwrite=True)
            assert answers(index) == old
            with Index.open(tmp_path / "i") as newer:
                assert newer.info()["generation"] == seed + 1
                assert answers(newer) != old
        assert garbage(tmp_path / "i") == set()
        assert answers(index) == old
    build(tmp_path / "expected", seed=3)
    assert opened_answers(tmp_path / "i", verify=True) == opened_answers(tmp_path / "expected")


def test_a_snapshot_keeps_answering_while_documents_are_deleted(tmp_path):
    build(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        old = answers(index)
        assert run(DELETE, tmp_path / "i", "0-001", "0-008") == "2\n"
        assert run(DELETE, tmp_path / "i", "0-002") == "1\n"
        assert answers(index) == old
        assert len(index) == 20
        with Index.open(tmp_path / "i") as newer:
            assert len(newer) == 17


def test_hits_outlive_their_index_and_its_generation(tmp_path):
    build(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        hits = index.search("zip read", weights={"bm25": 1})
        expected = [(hit.id, hit.text) for hit in index.search("zip read", weights={"bm25": 1})]
    build(tmp_path / "i", seed=1, overwrite=True)
    build(tmp_path / "i", seed=2, overwrite=True)
    assert [(hit.id, hit.text) for hit in hits] == expected
    with pytest.raises(ClosedError, match="is closed: open it again"):
        index.search("zip")


def test_readers_open_while_a_writer_replaces_the_index_again_and_again(tmp_path):
    """A reader may find a file gone that its manifest names: it takes the next generation then."""
    truth = {}
    for seed in range(4):
        build(tmp_path / f"{seed}", seed=seed)
        truth[seed] = opened_answers(tmp_path / f"{seed}")
    build(tmp_path / "i")
    wrong, done = [], threading.Event()

    def read():
        while not done.is_set():
            found = opened_answers(tmp_path / "i")
            if found != truth[int(found[1][0].id[0])]:
                wrong.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 25):
        build(tmp_path / "i", seed=number % 4, overwrite=True)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert garbage(tmp_path / "i") == set()


def test_a_commit_that_is_shown_before_it_can_be_read_is_not_missed(tmp_path, monkeypatch):
    """LMDB writes its root first, then tells readers of it: who looks in between sees a number that it cannot read yet."""
    build(tmp_path / "i")
    with Index.open(tmp_path / "i", refresh="auto") as follower, Index.open(tmp_path / "i", mode="w") as index:
        last = follower._environment.last_transaction
        with monkeypatch.context() as patched:
            patched.setattr(Environment, "last_transaction", property(lambda _: last + 1))
            assert len(follower) == 20
        index.delete(["0-001"])
        assert index._environment.last_transaction == last + 1
        assert len(follower) == 19


def test_a_snapshot_says_when_its_last_user_has_gone(tmp_path):
    build(tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer:
        snapshot = Snapshot.latest(writer.environment, tmp_path / "i")
        segment = snapshot.segments[0]
        assert snapshot.acquire() is snapshot
        snapshot.release()
        assert snapshot.document(segment, 0).id == "0-000"
        snapshot.release()
        with pytest.raises(ClosedError, match="this snapshot is closed: open the index again"):
            snapshot.acquire()
        with pytest.raises(ClosedError, match="the index was closed before this document was read"):
            snapshot.document(segment, 0)


# -- copies --


def test_a_copy_answers_as_the_original_and_holds_nothing_else(tmp_path):
    build(tmp_path / "i", seed=1)
    build(tmp_path / "i", overwrite=True)
    with Index.open(tmp_path / "i", mode="w") as index:
        index.delete(["0-001", "0-012"])
        expected = answers(index)
        index.save(tmp_path / "new" / "copy")
        assert answers(index) == expected
    assert opened_answers(tmp_path / "new" / "copy", verify=True) == expected
    assert garbage(tmp_path / "new" / "copy") == set()
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["copy"]
    with Index.open(tmp_path / "new" / "copy", mode="w") as copy:
        assert copy.info()["generation"] == 3
        copy.delete(["0-002"])
    assert opened_answers(tmp_path / "i", verify=True) == expected


def test_a_copy_is_of_the_generation_that_is_open(tmp_path):
    build(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        old = answers(index)
        run(DELETE, tmp_path / "i", "0-001")
        index.save(tmp_path / "before the delete")
        run(OVERWRITE, tmp_path / "i", 1)
        index.save(tmp_path / "before the build")
    assert opened_answers(tmp_path / "before the delete", verify=True) == old
    assert opened_answers(tmp_path / "before the build", verify=True) == old
    assert opened_answers(tmp_path / "i") != old


def test_a_copy_goes_where_nothing_is(tmp_path):
    build(tmp_path / "i")
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    (tmp_path / "taken.part").mkdir()
    (tmp_path / "file").touch()
    with Index.open(tmp_path / "i") as index:
        for name in ("taken", "file", "i"):
            with pytest.raises(IndexExistsError, match="is there already: name another path"):
                index.save(tmp_path / name)
        index.save(tmp_path / "empty")
        with pytest.raises(StorageError, match="cannot make the folder"):
            index.save(tmp_path / "file" / "copy")
    assert opened_answers(tmp_path / "empty", verify=True) == opened_answers(tmp_path / "i")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "file", "i", "taken", "taken.part"]


def test_a_damaged_file_is_not_copied(tmp_path):
    build(tmp_path / "i")
    file = next((tmp_path / "i" / "segments").glob("*.vectors"))
    contents = bytearray(file.read_bytes())
    contents[100] ^= 1
    file.write_bytes(contents)
    with (
        Index.open(tmp_path / "i") as index,
        pytest.raises(CorruptionError, match="does not match its checksum: restore"),
    ):
        index.save(tmp_path / "copy")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["i"]


LIMITED_SAVE = """
import resource
from m3search import Index, errors
with Index.open(sys.argv[1]) as index:
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))
    try:
        index.save(sys.argv[2])
    except errors.StorageError as error:
        print(str(error)[:16])
"""


def test_a_copy_that_does_not_fit_leaves_nothing(tmp_path):
    build(tmp_path / "i", 100)
    assert run(LIMITED_SAVE, tmp_path / "i", tmp_path / "copy") == "cannot commit to\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["i"]


def test_an_index_that_was_moved_opens(tmp_path):
    build(tmp_path / "i")
    expected = opened_answers(tmp_path / "i")
    shutil.move(tmp_path / "i", tmp_path / "moved")
    assert opened_answers(tmp_path / "moved", verify=True) == expected
