"""StoreTree: whether what LMDB's file shows is its last commit, and a whole one.

Imports its neighbours. LMDB has no checksums. Damage that makes it take an older page, or an older root, shows an older commit,
and everything in it may be as it was then; so what is looked at here is not values but who owns which page.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from m3search.errors import CorruptionError
from m3search.storage.free_list import freed_pages
from m3search.storage.store_file import BRANCH, LEAF, META, StoreFile

_LOOKS, _PAUSE = 5, 0.01


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
        with StoreFile(data) as file:
            roots = list(file.roots())
        if not roots:
            return True
        numbers = [root.transaction for root in roots]
        if (
            [(root.place, root.flags & META) for root in roots] == [(0, META), (1, META)]
            and all(number % 2 == place for place, number in enumerate(numbers) if number)
            and (abs(numbers[0] - numbers[1]) == 1 or numbers == [0, 0])
            and not (still and any(_knows_later(data, number) for number in numbers if number))
        ):
            return True
        time.sleep(_PAUSE)
    return False


def _knows_later(data: Path, number: int) -> bool:
    try:
        with StoreFile(data) as file:
            root = file.root_of(number)
            return root is not None and max(freed_pages(file, root), default=0) > number
    except CorruptionError:
        return True


def tree_is_sound(data: Path, transaction: int) -> bool:
    """Whether every page that a commit leads to is where it says it is, and belongs to one owner: a tree, or what is free.

    A tree that leads to a page of an older commit leads to one that is free since, or to one that the tree has already, or is
    of another size than its root says.

    Args:
        data: the file.
        transaction: the commit, which the caller reads in.
    """
    with StoreFile(data) as file:
        root = file.root_of(transaction)
        if root is None:  # overwritten by two commits since: another look is needed, and the caller takes it
            return True
        owners = np.zeros(root.last + 1, np.uint8)
        owners[:2] = 1
        try:
            for table in (root.free, root.main):
                found = {BRANCH: 0, LEAF: 0}
                overflows = 0
                for number, flags, words in file.pages(root, table):
                    owners[number] += 1
                    found[flags & (BRANCH | LEAF)] += 1
                    for value in file.values(root, words, big=True) if flags & LEAF else ():
                        assert value.page is not None
                        count = file.overflow(root, value.page)
                        owners[value.page : value.page + count] += 1
                        overflows += count
                if (found[BRANCH], found[LEAF], overflows) != table[1:4]:
                    return False
            for pages in freed_pages(file, root).values():
                if len(pages) and int(pages.max()) > root.last:
                    return False
                owners[pages.astype(np.int64)] += 1
        except CorruptionError:
            return False
        return bool((owners <= 1).all())
