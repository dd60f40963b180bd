"""Parquet files, read in batches through pyarrow (extra "parquet").

Imports record, source and errors; pyarrow only on use. Invariant: one batch of rows is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from m3search.errors import MissingExtraError, SourceError
from m3search.indexing.sources.record import Record
from m3search.indexing.sources.source import Estimate

_BATCH = 256


def read_parquet(path: Path, name: str) -> Iterator[Record]:
    """A record for every row: columns id (or _id, doc_id), text, title; all others become metadata.

    Raises:
        MissingExtraError: pyarrow is not installed.
        SourceError: the file is no sound Parquet file, or has no columns for id and text.
    """
    with _opened(path, name) as file:
        names = file.schema_arrow.names
        if not {"id", "_id", "doc_id"} & set(names) or "text" not in names:
            shown = ", ".join(map(repr, names[:20]))
            raise SourceError(
                f"{name}: the columns are {shown}: there must be an id (or _id, doc_id) and a text; rename them"
            )
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield Record(f"{name}:row {number}", row)


def estimate_parquet(path: Path, name: str) -> Estimate:
    """Rows as the file states them, and bytes uncompressed."""
    with _opened(path, name) as file:
        groups = range(file.metadata.num_row_groups)
        return Estimate(file.metadata.num_rows, sum(file.metadata.row_group(n).total_byte_size for n in groups))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    """The file, with pyarrow's errors turned into ours."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "reading Parquet files") from error
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise SourceError(f"{name}: not a sound Parquet file: {reason}: write or copy it again") from error
