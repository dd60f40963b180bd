"""FreeList: the pages that LMDB keeps to use again, by the transaction that freed them.

Reads the store's file, because LMDB's Python package shows pages in use only. Imports errors. Invariant: it is read below an
open read transaction, whose pages no writer touches, and nothing is read outside the file.

Source: LMDB's mdb.c, data version 1: MDB_meta, MDB_db, MDB_page and MDB_node, in the byte order of the machine.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from m3search.errors import CorruptionError

_PAGE = struct.Struct("=QHHHH")  # number, padding, flags, end of the nodes' offsets, start of the nodes
_META = struct.Struct(
    "=IIQQ" + 2 * "IHHQQQQQ" + "QQ"
)  # magic, version, address, map, two tables, last page, transaction
_NODE = struct.Struct("=HHHH")  # low and high half of the size or the page, flags, size of the key
_WORD = struct.Struct("=Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _META_PAGE, _BIG_DATA = 0x01, 0x02, 0x08, 0x01
_LOOKS, _PAUSE = 5, 0.01
_NO_ROOT = 2**64 - 1
_DEEPEST = 32  # LMDB's CURSOR_STACK


class FreeList(NamedTuple):
    """What is free as of one transaction.

    Attributes:
        freed: transaction -> how many pages it freed that are not in use again.
        own: pages that the list itself takes.
        page: bytes of a page.
    """

    freed: dict[int, int]
    own: int
    page: int

    def pinned(self, oldest: int) -> int:
        """Bytes of pages that no commit may use again while a reader is at this transaction: those freed from it on."""
        return self.page * sum(count for transaction, count in self.freed.items() if transaction >= oldest)


def free_list(data: Path, transaction: int) -> FreeList | None:
    """The list as of this transaction, which the caller reads in; None where the file is of a version that is not known here,
    or other commits have overwritten where the list begins.

    Raises:
        CorruptionError: the list is damaged.
    """
    with data.open("rb") as file:
        for meta in _metas(file):
            *_, last, number = meta
            page, _, depth, branches, leaves, overflows, _, root = meta[4:12]
            if number == transaction:
                reader = _Reader(file, page, last, data)
                freed = {} if root == _NO_ROOT else dict(reader.records(root, min(depth, _DEEPEST)))
                return FreeList(freed, branches + leaves + overflows, page)
    return None


def roots_are_sound(data: Path, *, still: bool) -> bool:
    """Whether the file's two beginnings are those of its last two commits, each in its place.

    LMDB writes an even commit's root on the first page and an odd one's on the second, takes the one with the higher number,
    and reads it where that number says. A number that is damaged, or pages that have changed places, make it show an older
    commit. No commit knows of pages that a later one has freed, so a number that was made smaller shows, too.

    Args:
        data: the file; of a version that is not known here nothing is said but that it is sound.
        still: no writer has it open; else what the older of the two freed may be overwritten by now.
    """
    for _ in range(_LOOKS):  # a writer may be writing one
        with data.open("rb") as file:
            found = [(place, flags & _META_PAGE, meta[-1]) for place, flags, meta in _meta_pages(file)]
        if not found:
            return True
        numbers = [number for *_, number in found]
        if (
            [one[:2] for one in found] == [(0, _META_PAGE), (1, _META_PAGE)]
            and all(number % 2 == place for place, number in enumerate(numbers) if number)
            and (abs(numbers[0] - numbers[1]) == 1 or numbers == [0, 0])
            and not (still and any(_knows_later(data, number) for number in numbers if number))
        ):
            return True
        time.sleep(_PAUSE)
    return False


def _knows_later(data: Path, number: int) -> bool:
    try:
        found = free_list(data, number)
    except CorruptionError:
        return True
    return found is not None and max(found.freed, default=0) > number


def _meta_pages(file: BinaryIO) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Of both beginnings the number that the page says it has, its flags, and the rest."""
    for number, meta in enumerate(_metas(file)):
        file.seek(number * meta[4])
        place, _, flags, *_ = _PAGE.unpack(file.read(_PAGE.size))
        yield place, flags, meta


def _metas(file: BinaryIO) -> Iterator[tuple[int, ...]]:
    """Both of the file's beginnings that are of a known version; the second stands a page after the first."""
    page = 0
    for _ in range(2):
        file.seek(page + _PAGE.size)
        head = file.read(_META.size)
        if len(head) < _META.size:
            return
        meta = _META.unpack(head)
        if meta[:2] != (_MAGIC, _VERSION):
            return
        page = meta[4]
        yield meta


class _Reader:
    def __init__(self, file: BinaryIO, page: int, last: int, data: Path) -> None:
        self._file, self._page, self._last, self._data = file, page, last, data

    def records(self, number: int, depth: int) -> Iterator[tuple[int, int]]:
        """The records below a page: transaction, and number of pages it freed."""
        page = self._read(number)
        try:
            _, _, flags, end, _ = _PAGE.unpack_from(page)
            for place in range(_PAGE.size, end, 2):
                (offset,) = struct.unpack_from("=H", page, place)
                low, high, kind, key = _NODE.unpack_from(page, offset)
                data = offset + _NODE.size + key
                if flags & _BRANCH and depth > 1:
                    yield from self.records(low | high << 16 | kind << 32, depth - 1)
                elif flags & _LEAF:
                    (transaction,) = _WORD.unpack_from(page, offset + _NODE.size)
                    (count,) = _WORD.unpack_from(page, data)
                    if kind & _BIG_DATA:  # the record stands on pages of its own, and this is their number
                        (count,) = _WORD.unpack_from(self._read(count), _PAGE.size)
                    yield transaction, count
                else:
                    raise self._damaged()
        except struct.error as error:
            raise self._damaged() from error

    def _read(self, number: int) -> bytes:
        if number > self._last:
            raise self._damaged()
        self._file.seek(number * self._page)
        page = self._file.read(self._page)
        if len(page) < self._page:
            raise self._damaged()
        return page

    def _damaged(self) -> CorruptionError:
        return CorruptionError(f"the free list of {self._data} is damaged: restore the index or build it again")
