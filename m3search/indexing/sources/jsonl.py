"""JSONL: one JSON object a line, the corpus of a BEIR folder among them.

Imports lines, record and source. Invariant: a broken line costs that line only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from m3search.errors import SourceError
from m3search.indexing.sources.lines import (
    bad_line,
    estimate_lines,
    not_utf8,
    numbered_lines,
    open_bytes,
    too_long,
)
from m3search.indexing.sources.record import Record
from m3search.indexing.sources.source import Estimate


def read_jsonl(path: Path, name: str) -> Iterator[Record]:
    """A record for every line that is not blank.

    Raises:
        SourceError: the file cannot be read, is UTF-16, or holds one JSON array.
    """
    with open_bytes(path, name) as stream:
        yield from read_jsonl_stream(stream, name)


def read_jsonl_stream(stream: BinaryIO, name: str) -> Iterator[Record]:
    """As `read_jsonl`, from bytes that are already open, such as standard input; line by line as they arrive."""
    first = True
    for number, line in numbered_lines(stream, name):
        where = f"{name}:{number}"
        if line is None:
            yield Record(where, error=too_long(where))
        elif stripped := line.strip():
            if first and stripped.startswith(b"["):
                raise SourceError(
                    f"{where}: this is a JSON array, not JSONL: write one object a line, for example with jq -c '.[]'"
                )
            yield _record(stripped, where)
            first = False


def _record(line: bytes, where: str) -> Record:
    try:
        return Record(where, json.loads(line.decode()))
    except UnicodeDecodeError as error:
        return Record(where, error=not_utf8(where, line[error.start], error.start))
    except json.JSONDecodeError as error:
        reason = f"broken JSON at column {error.colno}: {error.msg}: mend or remove the line"
    except RecursionError:
        reason = "JSON that is nested too deeply: flatten it"
    except ValueError as error:  # an int of thousands of digits
        reason = f"JSON that cannot be read: {error}"
    return Record(where, error=bad_line(where, "broken JSON", reason))


def estimate_jsonl(path: Path, name: str) -> Estimate:
    """Bytes, and documents by the lengths of sampled lines."""
    return estimate_lines(path, name, lambda piece: piece.count(b"\n"), pieces=12)
