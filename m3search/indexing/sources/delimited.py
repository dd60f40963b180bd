"""CSV and TSV with a header row.

Imports lines, record and source. Invariant: where a record begins, its line number is right, also after fields that
run over several lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

from m3search.errors import SourceError
from m3search.indexing.sources.lines import (
    LONGEST_LINE,
    bad_line,
    estimate_lines,
    not_utf8,
    numbered_lines,
    open_bytes,
    too_long,
)
from m3search.indexing.sources.record import Record
from m3search.indexing.sources.source import Estimate

# What stands in for a line beyond the limit: no line that was decoded from UTF-8 holds this character.
_TOO_LONG = "\ud800"
_KNOWN = frozenset({"id", "_id", "doc_id", "title", "text"})
_DELIMITERS = {",": "commas", "\t": "tabs"}


def read_delimited(path: Path, name: str, delimiter: str) -> Iterator[Record]:
    """A record for every row: id, title and text by the header's names, all other columns as metadata strings.

    Fields are quoted with ``"`` where they need it, and a quote is doubled inside, in TSV as in CSV.

    Raises:
        SourceError: the file cannot be read, or its header does not name an id and a text.
    """
    # csv's limit of 128 KiB a field is one for the whole process; it is only ever raised
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    with open_bytes(path, name) as stream:
        reader = csv.reader(_lines(stream, name), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            start = reader.line_num + 1
            where = f"{name}:{start}"
            try:
                row = next(reader, None)
            except csv.Error as error:
                _require_header(header, f"{where}: {error}")
                yield Record(where, error=_broken(where, str(error), start, reader.line_num))
                continue
            if row is None:
                break
            if not row:
                continue
            bad = _undecoded(row, where)
            if header is None:
                if bad is not None:
                    raise bad
                header = _header(row, where, delimiter)
            else:
                yield _record(header, row, where, bad)
        _require_header(header, f"{name}: the file is empty")


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for _, line in numbered_lines(stream, name):
        # bytes that are no UTF-8 become surrogates, which are looked for in the row that they end up in
        yield f"{_TOO_LONG}\n" if line is None else line.decode("utf-8", "surrogateescape")


def _undecoded(row: list[str], where: str) -> SourceError | None:
    """What is wrong with the bytes of a row."""
    for cell in row:
        try:
            cell.isascii() or cell.encode()
        except UnicodeEncodeError as error:
            character = cell[error.start]
            if character == _TOO_LONG:
                return too_long(where)
            return not_utf8(where, ord(character) - 0xDC00, error.start)
    return None


def _require_header(header: list[str] | None, complaint: str) -> None:
    if header is None:
        raise SourceError(f"{complaint}: the first row must name the columns, among them id and text")


def _header(row: list[str], where: str, delimiter: str) -> list[str]:
    """The columns' names, those of documents in lower case."""
    stripped = [cell.strip() for cell in row]
    names = [
        cell.lower() if cell.lower() in _KNOWN else cell or f"column {number}"
        for cell, number in zip(stripped, count(1), strict=False)
    ]
    shown = ", ".join(map(repr, names[:20]))
    if not {"id", "_id", "doc_id"} & set(names) or "text" not in names:
        raise SourceError(
            f"{where}: the header names {shown}, separated by {_DELIMITERS[delimiter]}: "
            "it must name an id (or _id, doc_id) and a text; rename the columns or add a header row"
        )
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise SourceError(f"{where}: the header names {doubled[0]!r} twice: rename one of the columns")
    return names


def _record(header: list[str], row: list[str], where: str, bad: SourceError | None) -> Record:
    if bad is None and len(row) != len(header):
        reason = (
            f"the row has {len(row)} fields, the header {len(header)}: "
            "quote fields that hold the separator, or fill the row up"
        )
        bad = bad_line(where, "wrong number of fields", reason)
    if bad is not None:
        return Record(where, error=bad)
    return Record(where, dict(zip(header, row, strict=True)))


def _broken(where: str, reason: str, start: int, end: int) -> SourceError:
    lines = f"; it runs to line {end}, all of which is lost" if end > start else ""
    return bad_line(
        where, "broken CSV", f"broken row ({reason}){lines}: look for a quote that is not closed or doubled"
    )


def estimate_delimited(path: Path, name: str, delimiter: str) -> Estimate:
    """Bytes, and documents by the rows in a sample; fields over several lines are understood.

    Only the beginning is looked at: a piece from the middle might start inside of quotes.
    """

    def rows(piece: bytes) -> int:
        reader = csv.reader(piece.decode("utf-8", "replace").splitlines(keepends=True), delimiter=delimiter)
        counted = 0
        while True:
            try:
                row = next(reader, None)
            except csv.Error:
                row = []
            if row is None:
                return counted
            counted += 1

    estimate = estimate_lines(path, name, rows)
    return Estimate(max((estimate.documents or 0) - 1, 0), estimate.size)
