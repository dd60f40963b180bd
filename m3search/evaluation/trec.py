"""TREC files: runs and qrels, read and written.

Owns both formats; imports beir's judgement rule, lines and errors. Invariant: a file that was written whole is read
back as it was meant, and a file that could not be written whole does not appear.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from m3search.errors import InputError, SourceError
from m3search.evaluation.beir import add_judgement
from m3search.evaluation.lines import decoded, placed_lines, unreadable

Run = Mapping[str, Sequence[tuple[str, float]]]
"""Query id -> (document id, score), best first."""

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade; above 0 is relevant."""


def write_run(run: Run, path: str | Path, tag: str = "m3search") -> None:
    """Write ``query Q0 document rank score tag`` lines, all or nothing.

    The order of each list is what counts and is kept. trec_eval ignores the rank column: it reads scores as 32-bit
    floats and puts equal ones in falling order of document ids. So the scores that are written fall strictly as
    32-bit floats: a score that does not is lowered to the next smaller one, which changes its seventh digit.

    Args:
        run: query id -> hits, best first; a query without hits leaves no line.
        path: the file; one that is there is replaced.
        tag: names the run; no white space.

    Raises:
        InputError: an id or the tag is empty or has white space in it, which the format cannot hold; a score is not
            finite; a document stands twice in a list.
        SourceError: the file cannot be written.
    """
    name = _field(tag, "the tag")
    with _replacing(Path(path)) as stream:
        for query, hits in run.items():
            key = _field(query, "the query id")
            for rank, (document, score) in enumerate(_falling(query, hits), start=1):
                stream.write(b"%b Q0 %b %d %b %b\n" % (key, document, rank, score, name))


def _falling(query: str, hits: Iterable[tuple[str, float]]) -> Iterator[tuple[bytes, bytes]]:
    """Documents and scores as they are written, each score below the one before it as a 32-bit float."""
    above = np.float32(np.inf)
    seen: set[str] = set()
    for document, score in hits:
        if not math.isfinite(score) or abs(score) > 1e38:
            raise InputError(f"query {query!r}: the score of {document!r} is {score}: a run needs finite 32-bit scores")
        if document in seen:
            raise InputError(f"query {query!r}: {document!r} stands twice in the list: a run ranks a document once")
        seen.add(document)
        above = min(np.float32(score), np.nextafter(above, np.float32(-np.inf)))
        yield _field(document, "the document id"), b"%.9g" % float(above)


def read_run(path: str | Path) -> dict[str, list[tuple[str, float]]]:
    """Read a run: per query by falling score, equal scores by rank, then as they stand.

    Raises:
        SourceError: the file cannot be read, or a line is no line of a run (file:line).
    """
    ranked: dict[str, dict[str, tuple[float, int]]] = {}
    for where, line in placed_lines(Path(path)):
        fields = line.split()
        if len(fields) != 6:
            raise unreadable(where, f"{len(fields)} columns: a line of a run is query Q0 document rank score tag")
        query, _, document, rank, score, _ = (decoded(field, where) for field in fields)
        hits = ranked.setdefault(query, {})
        if document in hits:
            raise unreadable(where, f"document {document!r} was there already for query {query!r}: remove one line")
        hits[document] = (_number(score, where), _rank(rank, where))
    return {
        query: [
            (document, score) for document, (score, _) in sorted(hits.items(), key=lambda hit: (-hit[1][0], hit[1][1]))
        ]
        for query, hits in ranked.items()
    }


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise unreadable(where, f"the score {text!r} is no finite number")
    return number


def _rank(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise unreadable(where, f"the rank {text!r} is no whole number") from None


def write_qrels(qrels: Qrels, path: str | Path) -> None:
    """Write ``query 0 document grade`` lines, all or nothing.

    Raises:
        InputError: an id is empty or has white space in it, which the format cannot hold.
        SourceError: the file cannot be written.
    """
    with _replacing(Path(path)) as stream:
        for query, grades in qrels.items():
            key = _field(query, "the query id")
            for document, grade in grades.items():
                stream.write(b"%b 0 %b %d\n" % (key, _field(document, "the document id"), grade))


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read TREC qrels of four columns.

    Raises:
        SourceError: the file cannot be read, or a line is no judgement (file:line).
    """
    qrels: dict[str, dict[str, int]] = {}
    for where, line in placed_lines(Path(path)):
        fields = line.split()
        if len(fields) != 4:
            raise unreadable(where, f"{len(fields)} columns: a line of qrels is query 0 document grade")
        query, _, document, grade = (decoded(field, where) for field in fields)
        add_judgement(qrels, query, document, grade, where)
    return qrels


def _field(text: str, what: str) -> bytes:
    """A word of a TREC file."""
    try:
        field = text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} {text!r} is no text that UTF-8 can hold") from error
    # bytes.split knows ASCII's white space only, as C's isspace does
    if field.split() != [field]:
        raise InputError(f"{what} {text!r} is empty or has white space in it, which a TREC file cannot hold: rename it")
    return field


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only once it is complete and on the disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be written: {error.strerror or error}: check the folder and its space"
        ) from error
