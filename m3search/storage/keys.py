"""Keys: where everything lies in the store's one table.

    r<name>                                      a record: the manifest, the stage of a build, its journal
    s<segment, 16 bytes>a<name>                  an array of a segment
    s<segment, 16 bytes>d<number, 4 bytes>       a document of a segment, numbered from 0, big-endian

One table, LMDB's main one, is open without a transaction: a named one would take the write lock at every open. Imports
nothing. Invariant: all keys of a segment lie side by side, and none is longer than 511 bytes, LMDB's limit.
"""

from __future__ import annotations

MANIFEST_KEY = b"rmanifest"
BUILDING_KEY = b"rbuilding"
JOURNAL_KEY = b"rjournal"
SEGMENTS = b"s"
SEGMENT_BYTES = 16


def segment_prefix(segment: bytes) -> bytes:
    """What all keys of a segment begin with."""
    return SEGMENTS + segment


def array_key(segment: bytes, name: str) -> bytes:
    """The key of an array, such as "lexical.terms"."""
    return segment_prefix(segment) + b"a" + name.encode()


def document_key(segment: bytes, number: int) -> bytes:
    """The key of a document's record."""
    return segment_prefix(segment) + b"d" + number.to_bytes(4, "big")


def segment_of(key: bytes) -> bytes:
    """The 16 bytes of the segment that a key belongs to."""
    return key[len(SEGMENTS) : len(SEGMENTS) + SEGMENT_BYTES]


def after_segment(segment: bytes) -> bytes:
    """A key behind all keys of a segment, and before those of the next."""
    return segment_prefix(segment) + b"\xff"
