"""Record: one thing that was read, good or bad, and the way from records to documents.

Owns the step between reading and indexing; imports documents, report, records and errors. Invariant: nothing is
consumed ahead of what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from m3search.errors import InputError, SourceError
from m3search.indexing.documents import as_document
from m3search.indexing.report import SkipReport
from m3search.records import Document


@dataclass(frozen=True, slots=True)
class Record:
    """What stands at one place of a source.

    Attributes:
        where: the place, such as "corpus.jsonl:17".
        value: a str, a mapping or a Document, unchecked.
        error: why there is no value; None where there is one.
    """

    where: str
    value: object = None
    error: SourceError | None = None

    def document(self, ordinal: int) -> Document:
        """The document, checked; a str gets `ordinal` as its id.

        Raises:
            SourceError: the record could not be read.
            DocumentError: it makes no document.
        """
        if self.error is not None:
            raise self.error
        return as_document(self.value, ordinal, self.where)


class Accepted(NamedTuple):
    """A document that may be indexed.

    Attributes:
        ordinal: its place among all records, skipped ones counted.
        where: the place it was read from.
        document: valid, but its id is not yet known to be unique.
        digest: of all documents up to this one, where somebody keeps a trail (`indexing/trail.py`).
    """

    ordinal: int
    where: str
    document: Document
    digest: bytes = b""


def from_iterable(documents: Iterable[object]) -> Iterator[Record]:
    """Records from whatever a user passes: str, mappings and Documents, or a source whose records pass through.

    Raises:
        InputError: it is a single document, or nothing that can be gone through.
    """
    if isinstance(documents, str | bytes | Mapping | Document) or not isinstance(documents, Iterable):
        raise InputError(
            f"the documents are a {type(documents).__name__}: give an iterable of str, mappings or Documents; "
            "a single one goes into a list, and a file is opened with open_source(path)"
        )
    return _records(documents)


def _records(documents: Iterable[object]) -> Iterator[Record]:
    for ordinal, value in enumerate(documents):
        yield value if isinstance(value, Record) else Record(f"document {ordinal}", value)


def read_documents(records: Iterable[Record], skipped: SkipReport | None = None, first: int = 0) -> Iterator[Accepted]:
    """The documents of the records that make one.

    Args:
        records: from a source or `from_iterable`.
        skipped: notes every record that makes none; None: the first such record raises.
        first: ordinal of the first record.

    Raises:
        SourceError, DocumentError: a bad record while `skipped` is None; a file that cannot be read on, always.
    """
    for ordinal, record in enumerate(records, first):
        try:
            document = record.document(ordinal)
        except InputError as error:
            if skipped is None:
                raise
            skipped.add(error)
            continue
        yield Accepted(ordinal, record.where, document)
