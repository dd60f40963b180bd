"""What LMDB keeps to use again, read from its file: every page is counted, and readers pin what was freed after they began."""

import mmap
import struct

import pytest

from m3search import Index
from m3search.errors import CorruptionError
from m3search.storage import Environment, Snapshot
from m3search.storage.free_list import free_list

PAGE = mmap.PAGESIZE


@pytest.fixture
def path(tmp_path):
    texts = (f"text {number} " + "and more of it " * (number % 200) for number in range(1500))
    Index.build(texts, tmp_path / "i", encoder=None, segment_size=500, progress=False).close()
    return tmp_path / "i"


@pytest.fixture
def environment(path):
    opened = Environment.open(path / "store")
    yield opened
    opened.close()


def found(environment):
    with environment.read() as transaction:
        return free_list(environment.path / "data.mdb", transaction.id())


def pages(environment):
    """Pages up to the last, as LMDB says."""
    return environment.info()["used"] // PAGE


def counted(environment):
    """The same, summed up: in use, free, the list itself and the two at the beginning."""
    free = found(environment)
    return environment.info()["live"] // PAGE + sum(free.freed.values()) + free.own + 2


def test_every_page_is_counted(path, environment):
    assert counted(environment) == pages(environment)
    with Index.open(path, mode="w") as writer:
        for number in range(5):
            writer.delete([str(number)])
            assert counted(environment) == pages(environment)


def test_records_of_many_pages_are_counted(path, environment):
    """A build that replaces the index frees it all in one commit: a record that has pages of its own."""
    before = environment.info()["live"] // PAGE
    held = Snapshot.latest(environment, path)  # or the next commits use the pages again
    Index.build(["a text"], path, encoder=None, overwrite=True, progress=False).close()
    assert max(found(environment).freed.values()) > before - 20 > PAGE // 8
    assert found(environment).own > 1
    assert counted(environment) == pages(environment)
    held.release()


def test_records_on_many_leaves_are_counted(path, environment):
    held = Snapshot.latest(environment, path)
    with Index.open(path, mode="w") as writer:
        for number in range(150):
            writer.delete([str(number)])
    assert len(found(environment).freed) >= 150
    assert found(environment).own > 3
    assert counted(environment) == pages(environment)
    held.release()


def test_a_reader_pins_what_was_freed_after_it_began(path, environment):
    with Index.open(path, mode="w") as writer:
        writer.delete(["0"])
        assert environment.pinned() == 0
        held = Snapshot.latest(environment, path)
        assert environment.pinned() == 0
        pinned = [0]
        for number in range(1, 6):
            writer.delete([str(number)])
            pinned.append(environment.pinned())
        assert pinned == sorted(set(pinned)), "every commit frees pages that the reader still sees"
        info = environment.info()
        assert pinned[-1] <= info["used"] - info["live"]

        grown = pages(environment)
        held.release()
        assert environment.pinned() == 0
        writer.delete(["6"])
        writer.delete(["7"])
        assert pages(environment) == grown, "what is not pinned is used again"


def test_a_newer_reader_pins_less(path, environment):
    with Index.open(path, mode="w") as writer:
        old = Snapshot.latest(environment, path)
        writer.delete(["0"])
        newer = Snapshot.latest(environment, path)
        writer.delete(["1"])
        both = environment.pinned()
        old.release()
        assert 0 < environment.pinned() < both
        newer.release()


def damaged(path, change):
    """A copy of the file with other bytes; LMDB is not asked to open it."""
    copy = path.parent / "damaged.mdb"
    data = bytearray((path / "store" / "data.mdb").read_bytes())
    change(data)
    copy.write_bytes(data)
    return copy


def root_of_free_list(data, transaction):
    for start in (16, PAGE + 16):
        if struct.unpack_from("=Q", data, start + 24 + 2 * 48 + 8)[0] == transaction:
            return struct.unpack_from("=Q", data, start + 24 + 40)[0]
    raise AssertionError(transaction)


def test_another_version_is_not_guessed_at(path, environment):
    with environment.read() as transaction:
        last = transaction.id()
    for version in (0, 2, 999):
        copy = damaged(path, lambda data, v=version: [struct.pack_into("=I", data, s + 4, v) for s in (16, PAGE + 16)])
        assert free_list(copy, last) is None
    assert free_list(damaged(path, lambda _: None), last) == found(environment)
    assert free_list(damaged(path, lambda _: None), last + 1) is None
    assert free_list(damaged(path, lambda data: data.__delitem__(slice(50, None))), last) is None


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [(10, "=H", 0x08), (16, "=H", 5000), (12, "=H", 65534), (0, None, None)],
    ids=["flags", "offset", "end", "cut off"],
)
def test_a_damaged_list_is_said(path, environment, at, layout, value):
    with environment.read() as transaction:
        last = transaction.id()

    def change(data):
        root = root_of_free_list(data, last)
        if layout is None:
            del data[root * PAGE + 100 :]
        else:
            struct.pack_into(layout, data, root * PAGE + at, value)

    with pytest.raises(CorruptionError, match=r"damaged\.mdb is damaged: .*restore the index"):
        free_list(damaged(path, change), last)
