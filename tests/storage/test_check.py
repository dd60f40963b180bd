"""Checking: what is sound passes, and what is damaged is found without a signal in this process."""

import random
import shutil

import numpy as np
import pytest
from live_model import build, given

from m3search import Index
from m3search.errors import StorageError
from m3search.storage import Environment, IndexConfig, IndexWriter, check_index
from m3search.storage.check import findings
from m3search.storage.codec import pack_array
from m3search.storage.keys import MANIFEST_KEY, array_key
from m3search.storage.store_tree import roots_are_sound


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An index of several segments, with dead documents, a graph and free pages."""
    path = tmp_path_factory.mktemp("sound") / "i"
    build(path, [(f"d{n}", 0) for n in range(60)], segment_size=30, dense="hnsw", colbert="int8+bits", threads=1)
    with Index.open(path, mode="w") as index:
        index.add(*given([(f"n{n}", 1) for n in range(20)]))
        index.upsert(*given([(f"d{n}", 2) for n in range(10)]))
        index.delete(["n3", "d40"])
    return path


@pytest.fixture
def damaged(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "i")
    return tmp_path / "i"


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_sound_index_passes_while_a_writer_works(sound, level):
    with IndexWriter(sound):
        assert check_index(sound, level) == []


def test_what_cannot_be_checked_is_no_finding(tmp_path):
    with pytest.raises(StorageError, match="holds no index: build one there"):
        check_index(tmp_path)


def test_a_manifest_that_is_gone_is_a_finding_and_a_build_that_goes_on_is_none(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer, writer.commit() as transaction:
        transaction.delete(MANIFEST_KEY)
    assert [(one.where, "is gone" in one.what) for one in check_index(tmp_path / "i")] == [("the manifest", True)]
    with IndexWriter.for_build(tmp_path / "new", overwrite=False) as writer:
        writer.stage(IndexConfig())
    with pytest.raises(StorageError, match="holds no index that was finished"):
        check_index(tmp_path / "new")


def change(path, name, values, number=0):
    """Give an array other values, with a checksum that holds."""
    with IndexWriter(path) as writer:
        info = writer.manifest().segments[number]
        with Index.open(path) as index, index._reading() as snapshot:
            from m3search.storage.codec import unpack_array

            key = array_key(info.key, name)
            array = np.array(unpack_array(snapshot.value(key), key, ""))
        values(array)
        with writer.environment.write() as transaction:
            transaction.put(key, pack_array(array, key))
    return info.uuid


def swap(array):
    array[[0, 1]] = array[[1, 0]]


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("bm25.row_terms", swap, "the terms of a passage are not ascending"),
        (
            "bm25.row_values",
            lambda array: array.__setitem__(0, 9),
            "the inverted store is not that of the forward store",
        ),
        ("lexical.row_values", lambda array: array.__setitem__(0, np.nan), "weights are not finite or below 0"),
        ("lexical.scales", lambda array: array.__imul__(0.5), "is not that of the forward store"),
        ("lexical.terms", lambda array: array.__setitem__(0, 29), "terms are not ascending"),
        ("ids", lambda array: array.__setitem__(-1, ord("x")), "is not found, or is there twice"),
        ("id_hashes", lambda array: array.__setitem__(0, 7), "is not found, or is there twice"),
        ("spans", lambda array: array.__setitem__((0, 0), 10**6), "a passage ends before it begins"),
    ],
)
def test_level_3_finds_what_was_written_wrongly(damaged, name, values, what):
    uuid = change(damaged, name, values)
    assert check_index(damaged, 2) == []
    found = check_index(damaged, 3)
    assert any(what in finding.what and uuid in finding.where for finding in found), found


def flip(data, rng):
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)


def cut(data, rng):
    del data[rng.randrange(len(data)) :]


def zero(data, rng):
    start = rng.randrange(len(data))
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))


@pytest.mark.parametrize("damage", [flip, cut, zero])
def test_level_2_finds_every_damage_of_a_segment_file(sound, tmp_path, damage):
    rng = random.Random(5)
    names = sorted(path.name for path in (sound / "segments").iterdir())
    for round_ in range(16):
        shutil.copytree(sound, tmp_path / f"{round_}")
        path = tmp_path / f"{round_}" / "segments" / rng.choice(names)
        data = bytearray(path.read_bytes())
        before = bytes(data)
        damage(data, rng)
        path.write_bytes(bytes(data))
        assert bool(list(findings(tmp_path / f"{round_}", 2))) == (bytes(data) != before)


def test_files_that_are_gone_or_swapped_are_found(damaged):
    one, other = sorted((damaged / "segments").glob("*.vectors"))[:2]
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    found = check_index(damaged, 2)
    assert {finding.where for finding in found} == {f"segment {one.stem}", f"segment {other.stem}"}
    one.unlink()
    assert any("a file is gone" in finding.what for finding in check_index(damaged, 1))


@pytest.mark.parametrize("damage", [flip, cut, zero])
def test_damage_of_the_store_never_ends_this_process(sound, tmp_path, damage):
    """Whatever level 2 says, an index that it finds sound answers as before; what is not live may be damaged unseen."""
    rng = random.Random(7)
    with Index.open(sound) as index:
        held = list(index)
    for round_ in range(5):
        path = tmp_path / f"{round_}"
        shutil.copytree(sound, path)
        data = bytearray((path / "store" / "data.mdb").read_bytes())
        damage(data, rng)
        (path / "store" / "data.mdb").write_bytes(bytes(data))
        (path / "store" / "lock.mdb").unlink()
        if not check_index(path, 2):
            with Index.open(path, verify=True) as index:
                assert list(index) == held


def test_a_signal_is_a_finding(damaged):
    """A hole where pages were, which LMDB reads as zeros or past the end."""
    data = damaged / "store" / "data.mdb"
    size = data.stat().st_size
    with data.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * (size - 4096 * 2))
    (damaged / "store" / "lock.mdb").unlink()
    assert check_index(damaged, 2)


def swap_roots(data):
    data[:4096], data[4096:8192] = data[4096:8192], data[:4096]


def other_number(data):
    """The newer commit gets the number of an older one, so that LMDB takes the other."""
    newer = max((0, 4096), key=lambda page: int.from_bytes(data[page + 144 : page + 152], "little"))
    data[newer + 144] = (data[newer + 144] - 2) % 256


@pytest.mark.parametrize("damage", [swap_roots, other_number])
def test_an_older_commit_that_comes_back_is_found(damaged, damage):
    """Everything that LMDB then shows is whole, and old."""
    data = bytearray((damaged / "store" / "data.mdb").read_bytes())
    damage(data)
    (damaged / "store" / "data.mdb").write_bytes(bytes(data))
    (damaged / "store" / "lock.mdb").unlink()
    assert "an older one may be served" in " ".join(one.what for one in check_index(damaged, 1))


def test_roots_are_sound_from_the_first_commit_on(tmp_path):
    store = Environment.open(tmp_path / "store", create=True)
    for number in range(5):
        assert roots_are_sound(tmp_path / "store" / "data.mdb", still=True)
        with store.write() as transaction:
            transaction.put(b"x", bytes([number]))
    store.close()
