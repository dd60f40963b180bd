"""Every error that m3search raises on purpose.

Owns the hierarchy and nothing else; imports nothing. Invariant: a message says what is wrong, where, and what to do
next.

    M3SearchError
    ├── InputError (ValueError)        something handed in cannot be used
    │   ├── DocumentError              a document: where it came from and its id stand in the message
    │   ├── SourceError                a file of documents, queries or qrels that cannot be read
    │   ├── EncodingsError             vectors of the wrong shape, width, type or number
    │   ├── ResumeError                an interrupted build cannot go on with what was given now
    │   ├── QueryError                 k, ids or a query that make no search
    │   │   └── FilterError            a filter that says nothing here; the place stands in the message
    │   └── WeightsError               weights that make no blend
    ├── EncoderError                   a model that cannot be loaded or does not fit the index
    │   └── CheckpointError            a model folder that is incomplete or damaged
    ├── StorageError                   the index on disk
    │   ├── IndexExistsError           a build would overwrite something
    │   ├── IndexNotFoundError         nothing there, or not an index
    │   ├── IndexFormatError           written by a newer version
    │   ├── CorruptionError            bytes that are not what was written
    │   ├── LockedError                another writer holds the index
    │   └── ClosedError                used after close
    └── MissingExtraError (ImportError)  an optional package is not installed

    M3SearchWarning (UserWarning)      something was left out, and the work went on
"""

from __future__ import annotations


class M3SearchError(Exception):
    """The root: catch this to catch everything that m3search raises on purpose."""


class M3SearchWarning(UserWarning):
    """Something was left out, and the work went on; the message counts it."""


class InputError(M3SearchError, ValueError):
    """Something handed in cannot be used.

    Attributes:
        where: file and line, or "document 17"; "" where that says nothing.
        doc_id: the id of the document that is meant, as far as it is known.
        kind: a few words that are the same for every error of this sort, to count them by.
    """

    def __init__(self, message: str = "", *, where: str = "", doc_id: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.doc_id = doc_id
        self.kind = kind


class DocumentError(InputError):
    """A document that cannot be indexed."""


class SourceError(InputError):
    """A file of documents, queries or relevance judgements that cannot be read."""


class EncodingsError(InputError):
    """Vectors of the wrong shape, width, type or number."""


class ResumeError(InputError):
    """An interrupted build cannot go on with this source or these settings; what it has encoded is kept."""


class QueryError(InputError):
    """Arguments that make no search."""


class FilterError(QueryError):
    """A filter that is none, or that does not fit the fields of the index."""


class WeightsError(InputError):
    """Weights that make no blend."""


class EncoderError(M3SearchError):
    """An encoder that cannot be loaded, or is not the one an index was built with."""


class CheckpointError(EncoderError):
    """A model folder that is incomplete or damaged."""


class StorageError(M3SearchError):
    """The index on disk cannot be read or written."""


class IndexExistsError(StorageError):
    """A build would overwrite something that is there."""


class IndexNotFoundError(StorageError):
    """There is no index at this path."""


class IndexFormatError(StorageError):
    """The index was written by a newer version of m3search."""


class CorruptionError(StorageError):
    """Bytes on disk are not those that were written."""


class LockedError(StorageError):
    """Another writer holds the index."""


class ClosedError(StorageError):
    """The index was closed."""


class MissingExtraError(M3SearchError, ImportError):
    """A package that belongs to an optional extra is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: pip install 'm3search[{extra}]'"
        )
        self.package = package
        self.extra = extra
