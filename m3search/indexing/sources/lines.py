"""Lines: a text file as numbered lines of bytes, gzipped or not.

Owns opening, decompression, the length limit and the sampling of line lengths; imports source and errors.
Invariant: at most one line of `LONGEST_LINE` bytes is in memory.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from m3search.errors import SourceError
from m3search.indexing.sources.source import Estimate

LONGEST_LINE = 64 * 2**20
"""Bytes of a line."""

_SAMPLE = 3 * 2**18
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what the operating system and gzip raise into a SourceError: the file cannot be read on from here."""
    try:
        yield
    except EOFError as error:
        raise SourceError(f"{name}: the gzip file is cut off: copy or download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{name}: not a sound gzip file ({error}): copy or download it again") from error
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error


def open_bytes(path: Path, name: str) -> BinaryIO:
    """The file's bytes, decompressed if it ends in .gz; the caller closes it.

    Raises:
        SourceError: it cannot be opened.
    """
    with readable(name):
        if path.suffix.lower() == ".gz":
            return cast("BinaryIO", gzip.open(path, "rb"))
        return path.open("rb")


def numbered_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes | None]]:
    """Every line with its number from 1, its end included; None for one that is longer than `LONGEST_LINE`.

    A byte order mark at the start of the file is left out.

    Raises:
        SourceError: the file cannot be read on, or is UTF-16.
    """
    number = 0
    with readable(name):
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            too_long = len(line) > LONGEST_LINE
            while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                line = stream.readline(LONGEST_LINE + 1)  # the rest of it, which is dropped
            if number == 1:
                if line.startswith(_UTF16):
                    raise SourceError(
                        f"{name}: this is UTF-16: convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8"
                    )
                line = line.removeprefix(codecs.BOM_UTF8)
            yield number, None if too_long else line


def bad_line(where: str, kind: str, reason: str) -> SourceError:
    """The error of one record that cannot be read while the file goes on."""
    return SourceError(f"{where}: {reason}", where=where, kind=kind)


def too_long(where: str) -> SourceError:
    """The error of a line beyond the limit."""
    return bad_line(where, "line too long", f"the line has more than {LONGEST_LINE:,} bytes: split the document")


def not_utf8(where: str, value: int, position: int) -> SourceError:
    """The error of a byte that is no UTF-8."""
    return bad_line(
        where, "not UTF-8", f"byte 0x{value:02x} at position {position} is not UTF-8: convert the file to UTF-8"
    )


def estimate_lines(path: Path, name: str, count: Callable[[bytes], int], pieces: int = 1) -> Estimate:
    """Bytes and records of a file from a sample of at most 768 KiB.

    Args:
        path: the file, gzipped or not.
        name: for messages.
        count: how many records a piece of the file holds.
        pieces: in how many places to look, evenly spread; a gzipped file only has its beginning.

    Raises:
        SourceError: the file cannot be read.
    """
    with readable(name):
        size = path.stat().st_size
    if path.suffix.lower() == ".gz":
        sample, size = _sample_gzip(path, name, size)
    else:
        with open_bytes(path, name) as stream, readable(name):
            pieces = 1 if size <= _SAMPLE else pieces
            length = _SAMPLE // pieces
            sample = []
            for piece in range(pieces):
                stream.seek(piece * (size - length) // max(pieces - 1, 1))
                sample.append(stream.read(length))
            if size <= _SAMPLE and not sample[0].endswith(b"\n"):
                sample[0] += b"\n"
    seen = sum(map(len, sample))
    records = sum(map(count, sample))
    return Estimate(max(1, round(records * size / seen)) if size else 0, size)


def _sample_gzip(path: Path, name: str, size: int) -> tuple[list[bytes], int]:
    """The first piece, and the whole size at the ratio of compression seen in it."""
    piece = bytearray()
    unzip = zlib.decompressobj(wbits=31)
    used = 0
    with readable(name), path.open("rb") as stream:
        # small steps: what is read but not yet given out would spoil the ratio
        while len(piece) < _SAMPLE and (packed := stream.read(4096)):
            used += len(packed)
            piece += unzip.decompress(packed)
            # a file may be several streams, one after the other, with zeros behind them
            while unzip.eof and (packed := unzip.unused_data.lstrip(b"\0")):
                unzip = zlib.decompressobj(wbits=31)
                piece += unzip.decompress(packed)
    whole = round(len(piece) * size / used) if used else 0
    if used == size and piece and not piece.endswith(b"\n"):
        piece += b"\n"
    return [bytes(piece)], whole
