"""Who owns which page of the store: a tree that leads to a page of an older commit is found, whatever the page."""

import contextlib
import itertools
import mmap
import shutil
import struct

import lmdb
import pytest

from m3search import Index
from m3search.storage import Environment, check_index
from m3search.storage.free_list import freed_pages
from m3search.storage.store_file import BRANCH, LEAF, StoreFile
from m3search.storage.store_tree import tree_is_sound

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """An index of several commits, so that its store has branches, leaves, large values, and free pages."""
    path = tmp_path_factory.mktemp("tree") / "i"
    texts = (f"text {number} " + "and more of it " * (number % 40) for number in range(120))
    Index.build(texts, path, encoder=None, segment_size=60, progress=False).close()
    with Index.open(path, mode="w", merging="manual") as writer:
        for number in range(4):
            writer.delete([str(number)])
    return path


@pytest.fixture
def copy(path, tmp_path):
    shutil.copytree(path, tmp_path / "i", ignore=shutil.ignore_patterns("lock.mdb"))
    return tmp_path / "i"


class Changed:
    """A file some of whose pages are others for a while."""

    def __init__(self, path, data):
        self.path, self._data = path, data
        path.write_bytes(data)

    def page(self, number):
        return self._data[number * PAGE : (number + 1) * PAGE]

    @contextlib.contextmanager
    def by(self, pages):
        self._write(pages)
        yield
        self._write({number: self.page(number) for number in pages})

    def _write(self, pages):
        with self.path.open("r+b") as file:
            for number, page in pages.items():
                file.seek(number * PAGE)
                file.write(page)


def last_commit(path):
    store = Environment.open(path / "store")
    try:
        return store.last_transaction
    finally:
        store.close()


def by_kind(data, transaction):
    """Pages of the last commit: branches, leaves, and those that are free."""
    with StoreFile(data) as file:
        root = file.root_of(transaction)
        kinds = {BRANCH: [], LEAF: []}
        for table in (root.main, root.free):
            for number, flags, _ in file.pages(root, table):
                kinds[flags & (BRANCH | LEAF)].append(number)
        free = [int(number) for pages in freed_pages(file, root).values() for number in pages]
    return kinds[BRANCH], kinds[LEAF], free


def test_a_sound_store_is_sound_after_every_commit(copy):
    data = copy / "store" / "data.mdb"
    assert tree_is_sound(data, last_commit(copy))
    with Index.open(copy, mode="w") as writer:
        for number in range(10, 20):
            writer.delete([str(number)])
            assert tree_is_sound(data, last_commit(copy))
        writer.merge()
        assert tree_is_sound(data, last_commit(copy))
    assert tree_is_sound(data, 1), "a commit whose root is gone is not spoken of"


def test_pages_that_have_changed_places_are_found(path, tmp_path):
    data, last = (path / "store" / "data.mdb").read_bytes(), last_commit(path)
    branches, leaves, free = by_kind(path / "store" / "data.mdb", last)
    assert branches
    assert free
    changed = Changed(tmp_path / "data.mdb", data)
    for one, other in itertools.chain(
        itertools.product(branches + leaves, free), itertools.combinations(branches + leaves, 2)
    ):
        with changed.by({one: changed.page(other), other: changed.page(one)}):
            assert not tree_is_sound(changed.path, last), (one, other)


def test_a_branch_that_leads_to_an_older_page_is_found(path, tmp_path):
    """The page is whole, and says which one it is: only that it is free, or there twice, tells."""
    data, last = (path / "store" / "data.mdb").read_bytes(), last_commit(path)
    branches, leaves, free = by_kind(path / "store" / "data.mdb", last)
    changed = Changed(tmp_path / "data.mdb", data)
    tried = 0
    for branch in branches:
        page = bytearray(changed.page(branch))
        for place in range(16, struct.unpack_from("=H", page, 12)[0], 2):
            (node,) = struct.unpack_from("=H", page, place)
            (child,) = struct.unpack_from("=H", page, node)
            for other in {*leaves, *free} - {child}:
                struct.pack_into("=H", page, node, other)
                with changed.by({branch: page}):
                    assert not tree_is_sound(changed.path, last), (branch, place, other)
                tried += 1
            struct.pack_into("=H", page, node, child)
    assert tried > 100


def keys(leaf):
    """What a leaf has; its free room may hold bytes of keys that it had."""
    (stop,) = struct.unpack_from("=H", leaf, 12)
    nodes = struct.unpack_from(f"={(stop - 16) // 2}H", leaf, 16)
    return {leaf[node + 8 : node + 8 + struct.unpack_from("=H", leaf, node + 6)[0]] for node in nodes}


def test_the_check_finds_an_older_leaf_that_shows_a_whole_older_generation(copy):
    """The page that holds the manifest, as a commit before wrote it: every checksum under it is right."""
    data = copy / "store" / "data.mdb"
    last = last_commit(copy)
    _, _, free = by_kind(data, last)
    content = data.read_bytes()

    def manifests():
        for number in range(2, len(content) // PAGE):
            page = content[number * PAGE : (number + 1) * PAGE]
            if struct.unpack_from("=H", page, 10)[0] == LEAF and b"rmanifest" in keys(page):
                yield number

    places = list(manifests())
    (current,) = set(places) - set(free)
    served = set()
    for older in set(places) & set(free):
        changed = bytearray(content)
        changed[current * PAGE : (current + 1) * PAGE] = content[older * PAGE : (older + 1) * PAGE]
        data.write_bytes(changed)
        with lmdb.open(str(copy / "store"), readonly=True, lock=False) as store, store.begin() as transaction:
            served.add(bytes(transaction.get(b"rmanifest")))
        assert check_index(copy, 2), older
    data.write_bytes(content)
    assert check_index(copy, 2) == []
    with lmdb.open(str(copy / "store"), readonly=True, lock=False) as store, store.begin() as transaction:
        assert served - {bytes(transaction.get(b"rmanifest"))}, "an older generation was served"
