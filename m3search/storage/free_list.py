"""FreeList: the pages that LMDB keeps to use again, by the transaction that freed them.

Imports its neighbours. Invariant: it is read below an open read transaction, see `store_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from m3search.storage.store_file import LEAF, StoreFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.store_file import Root


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
    with StoreFile(data) as file:
        root = file.root_of(transaction)
        if root is None:
            return None
        return FreeList(
            {number: len(pages) for number, pages in freed_pages(file, root).items()}, root.free.pages, root.page
        )


def freed_pages(file: StoreFile, root: Root) -> dict[int, NDArray[np.uint64]]:
    """Transaction -> numbers of the pages that it freed.

    Raises:
        CorruptionError: the list is damaged.
    """
    found: dict[int, NDArray[np.uint64]] = {}
    for _, flags, words in file.pages(root, root.free):
        for value in file.values(root, words) if flags & LEAF else ():
            if len(value.key) != 8 or value.size % 8 or not value.size:
                raise file.damaged()
            (transaction,) = np.frombuffer(value.key, np.uint64).tolist()
            count, *_ = numbers = np.frombuffer(value.data, np.uint64)
            if count >= len(numbers):
                raise file.damaged()
            found[transaction] = np.asarray(numbers[1 : int(count) + 1])
    return found
