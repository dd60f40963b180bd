"""Sources: what documents are read from, one format a file.

Imports documents, report, records and errors. Invariant: records come lazily and in a stable order, each with the
place it comes from; a bad record does not stop the reading, a broken file does.
"""

from m3search.indexing.sources.opening import join_sources, open_source
from m3search.indexing.sources.record import Accepted, Record, from_iterable, read_documents
from m3search.indexing.sources.source import Estimate, Source

__all__ = [
    "Accepted",
    "Estimate",
    "Record",
    "Source",
    "from_iterable",
    "join_sources",
    "open_source",
    "read_documents",
]
