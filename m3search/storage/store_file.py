"""StoreFile: LMDB's file as it lies on the disk; LMDB's Python package shows pages in use only.

Imports errors. Invariant: it is read below an open read transaction, whose pages no writer touches, and nothing is read outside
the file.

Source: LMDB's mdb.c, data version 1: MDB_meta, MDB_db, MDB_page and MDB_node, in the byte order of the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from m3search.errors import CorruptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE = struct.Struct("=QHHHH")  # number, padding, flags, end of the nodes' offsets, start of the nodes
BRANCH, LEAF, OVERFLOW, META = 0x01, 0x02, 0x04, 0x08

_META = struct.Struct(
    "=IIQQ" + 2 * "IHHQQQQQ" + "QQ"
)  # magic, version, address, map, two tables, last page, transaction
_NODE = struct.Struct("=HHHH")  # low and high half of the size or the page, flags, size of the key
_WORD = struct.Struct("=Q")
_TABLES = slice(4, 20)
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BIG_DATA, _OF_TABLES = 0x01, 0x06
_NO_ROOT = 2**64 - 1
_DEEPEST = 32  # LMDB's CURSOR_STACK


class Table(NamedTuple):
    """A tree of pages.

    Attributes:
        depth: levels of pages.
        branches, leaves, overflows: its pages by kind.
        root: number of the first page; None of an empty one.
    """

    depth: int
    branches: int
    leaves: int
    overflows: int
    root: int | None

    @property
    def pages(self) -> int:
        """All of them."""
        return self.branches + self.leaves + self.overflows


class Root(NamedTuple):
    """One of the file's two beginnings.

    Attributes:
        place: the number that its page says it has.
        flags: of its page.
        page: bytes of a page.
        free: the table of free pages.
        main: the table of keys and values.
        last: number of the last page in use.
        transaction: the commit that wrote it.
    """

    place: int
    flags: int
    page: int
    free: Table
    main: Table
    last: int
    transaction: int


class Value(NamedTuple):
    """A value of a leaf: its key, and on a page of its own (`page` and how many follow) or in the leaf."""

    key: bytes
    size: int
    page: int | None
    data: bytes


class StoreFile:
    """The file, open. To be closed, or used as a context.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")

    def roots(self) -> Iterator[Root]:
        """Both beginnings as far as they are of a known version; the second stands a page after the first."""
        start = 0
        for _ in range(2):
            self._file.seek(start)
            head = self._file.read(PAGE.size + _META.size)
            if len(head) < PAGE.size + _META.size:
                return
            place, _, flags, *_ = PAGE.unpack_from(head)
            meta = _META.unpack_from(head, PAGE.size)
            if meta[:2] != (_MAGIC, _VERSION):
                return
            free, main = meta[_TABLES][:8], meta[_TABLES][8:]
            start = page = free[0]
            yield Root(place, flags, page, _table(free), _table(main), *meta[-2:])

    def root_of(self, transaction: int) -> Root | None:
        """The beginning that a commit wrote; None where others have overwritten it, or the version is not known."""
        return next((root for root in self.roots() if root.transaction == transaction), None)

    def pages(self, root: Root, table: Table) -> Iterator[tuple[int, int, NDArray[np.uint16]]]:
        """Number, flags and content of every branch and leaf of a table, from the root on.

        Raises:
            CorruptionError: a page is not where it should be, or leads nowhere.
        """
        waiting = [] if table.root is None else [(table.root, 1)]
        while waiting:
            number, depth = waiting.pop()
            if depth > min(table.depth, _DEEPEST):
                raise self.damaged()
            flags, words = self._page(root, number)
            if flags & BRANCH and depth < table.depth:
                nodes = self._nodes(words)[:, :3].astype(np.uint64)
                children = nodes[:, 0] | nodes[:, 1] << np.uint64(16) | nodes[:, 2] << np.uint64(32)
                waiting.extend((child, depth + 1) for child in children.tolist()[::-1])
            elif not (flags & LEAF and depth == table.depth):
                raise self.damaged()
            yield number, flags, words

    def values(self, root: Root, words: NDArray[np.uint16], *, big: bool = False) -> Iterator[Value]:
        """What a leaf holds; with `big` only what has pages of its own, and not its data.

        Raises:
            CorruptionError: the leaf is damaged.
        """
        page = words.tobytes()
        offsets = self._offsets(words)
        nodes = self._nodes(words)
        if bool((nodes[:, 2] & _OF_TABLES).any()):  # a table within the table, which our stores do not have
            raise self.damaged()
        for row in np.flatnonzero(nodes[:, 2] & _BIG_DATA) if big else range(len(nodes)):
            low, high, kind, length = nodes[row].tolist()
            size, key = low | high << 16, int(offsets[row]) + _NODE.size
            data = key + length
            if not kind & _BIG_DATA:
                if data + size > len(page):
                    raise self.damaged()
                yield Value(page[key:data], size, None, page[data : data + size])
                continue
            if data + _WORD.size > len(page):
                raise self.damaged()
            (number,) = _WORD.unpack_from(page, data)
            yield Value(page[key:data], size, number, b"" if big else self._big(root, number, size))

    def overflow(self, root: Root, number: int) -> int:
        """How many pages a value has that begins on this one.

        Raises:
            CorruptionError: no value begins there.
        """
        flags, head = self._page(root, number)
        count = int(head[6]) | int(head[7]) << 16
        if not flags & OVERFLOW or not 0 < count <= root.last + 1 - number:
            raise self.damaged()
        return count

    def _big(self, root: Root, number: int, size: int) -> bytes:
        if size > self.overflow(root, number) * root.page - PAGE.size:
            raise self.damaged()
        self._file.seek(number * root.page + PAGE.size)
        data = self._file.read(size)
        if len(data) < size:
            raise self.damaged()
        return data

    def _page(self, root: Root, number: int) -> tuple[int, NDArray[np.uint16]]:
        """Flags and content; a page says which one it is."""
        if not 1 < number <= root.last:
            raise self.damaged()
        self._file.seek(number * root.page)
        page = self._file.read(root.page)
        if len(page) < root.page:
            raise self.damaged()
        place, _, flags, *_ = PAGE.unpack_from(page)
        if place != number:
            raise self.damaged()
        return flags, np.frombuffer(page, np.uint16)

    def _offsets(self, words: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Where the nodes of a page begin, in bytes."""
        end = int(words[6])
        offsets = words[PAGE.size // 2 : end // 2].astype(np.int64)
        if not PAGE.size <= end <= 2 * len(words) or bool((offsets % 2).any() or (offsets > 2 * len(words) - 8).any()):
            raise self.damaged()
        return offsets

    def _nodes(self, words: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The nodes' heads, u16[nodes, 4], see `_NODE`."""
        nodes: NDArray[np.uint16] = words[self._offsets(words)[:, None] // 2 + np.arange(4)]
        return nodes

    def damaged(self) -> CorruptionError:
        """What to raise."""
        return CorruptionError(
            f"{self._path} is damaged: a page is not where it should be; restore the index or build it again"
        )

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _table(fields: tuple[int, ...]) -> Table:
    _, _, depth, branches, leaves, overflows, _, root = fields
    return Table(depth, branches, leaves, overflows, None if root == _NO_ROOT else root)
