"""Garbage: what no manifest names, and how it goes.

Imports keys. Invariant: a segment goes only when nobody names it, and a transaction that removes keys is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from m3search.storage.keys import SEGMENTS, after_segment, segment_of, segment_prefix

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from m3search.storage.directory import Directory
    from m3search.storage.environment import Environment

_DELETES_A_TRANSACTION = 50_000


class Commit(Protocol):
    """Begins a write transaction that commits at the end of its block."""

    def __call__(self, *, deletes: bool = False) -> AbstractContextManager[Any]:
        """See `Environment.write`."""
        ...


def remove_garbage(environment: Environment, directory: Directory, named: AbstractSet[str], commit: Commit) -> None:
    """Remove files and keys of all segments but the named ones; files that the system will not remove stay for later.

    Raises:
        StorageError: the disk is full or failing.
    """
    for name in directory.names():
        if name.split(".", 1)[0] not in named:
            directory.remove(name)
    keep = {bytes.fromhex(segment) for segment in named}
    while dead := [segment for segment in stored_segments(environment) if segment not in keep]:
        _remove_keys(dead, commit)


def _remove_keys(dead: list[bytes], commit: Commit) -> None:
    """Delete some keys of these segments."""
    left = _DELETES_A_TRANSACTION
    with commit(deletes=True) as transaction, transaction.cursor() as cursor:
        for prefix in map(segment_prefix, dead):
            found = cursor.set_range(prefix)
            while found and left and bytes(cursor.key()[: len(prefix)]) == prefix:
                found = cursor.delete() and bool(len(cursor.key()))
                left -= 1


def stored_segments(environment: Environment) -> list[bytes]:
    """The segments that have keys, found by skipping from one to the next."""
    segments: list[bytes] = []
    with environment.read() as transaction, transaction.cursor() as cursor:
        found = cursor.set_range(SEGMENTS)
        while found:
            segments.append(segment_of(bytes(cursor.key())))
            found = cursor.set_range(after_segment(segments[-1]))
    return segments
