"""Lines of the small text files that evaluation reads, each with its place for messages.

Imports errors only. Invariant: every line that is not blank is yielded, or an error names it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from m3search.errors import SourceError


def placed_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """("path:17", the line without its end) for every line that is not blank; a byte order mark is left out.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                stripped = line.rstrip(b"\r\n")
                if number == 1:
                    stripped = stripped.removeprefix(codecs.BOM_UTF8)
                if stripped.strip():
                    yield f"{path}:{number}", stripped
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}: check the path") from error


def decoded(line: bytes, where: str) -> str:
    """The text of a line.

    Raises:
        SourceError: it is not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{where}: byte 0x{line[error.start]:02x} at position {error.start} is not UTF-8: convert the file to UTF-8",
            where=where,
        ) from error


def unreadable(where: str, reason: str) -> SourceError:
    """The error of a line that says something else than it should."""
    return SourceError(f"{where}: {reason}", where=where)
