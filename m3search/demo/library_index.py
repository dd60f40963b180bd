"""The demo's index: built once, then reused.

Imports index. Invariant: an index is reused only if it is whole; what an interrupted call left is built anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs

from m3search.demo.corpus import stdlib_documents
from m3search.errors import IndexNotFoundError
from m3search.index import Index

QUESTIONS = (
    "read a zip archive",
    "run a command and capture its output",
    "how do I turn a date in a string into a datetime",
)


def usual_path() -> Path:
    """Where an installed package keeps the index: in the user's cache, by Python's version, whose docstrings it holds."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return platformdirs.user_cache_path("m3search") / "indexes" / f"python-{version}"


def library_index(path: Path, *, progress: bool, say: Callable[[str], None]) -> tuple[Index, bool]:
    """The index of the standard library's docstrings, and whether it was built by this call.

    Args:
        path: its folder.
        progress: draw a bar while it is built.
        say: is told what happens.

    Raises:
        IndexExistsError: something else is at `path`.
        EncoderError: the encoder "mini" is not on this machine.
    """
    try:
        return Index.open(path), False
    except IndexNotFoundError:
        documents = list(stdlib_documents())
        say(f"indexing {len(documents):,} docstrings of Python's standard library into {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return Index.build(documents, path, encoder="mini", progress=progress), True
