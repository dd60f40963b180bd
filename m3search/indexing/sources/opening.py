"""Opening: from what a user names to a source.

Owns the choice of format by name; imports the formats. Invariant: what is not there is said before anything is read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from m3search.errors import SourceError
from m3search.indexing.sources.delimited import estimate_delimited, read_delimited
from m3search.indexing.sources.folder import MARKDOWN, TEXT, estimate_folder, read_folder
from m3search.indexing.sources.jsonl import estimate_jsonl, read_jsonl, read_jsonl_stream
from m3search.indexing.sources.parquet import estimate_parquet, read_parquet
from m3search.indexing.sources.source import Estimate, Source

_JSONL = (".jsonl", ".ndjson", ".json")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def open_source(source: str | Path) -> Source:
    """The source that a path names.

    Args:
        source: a BEIR folder (it has a corpus.jsonl); a .jsonl, .ndjson, .csv or .tsv file, each also with .gz; a
            .parquet file; a folder of .txt, .rst, .md and .markdown files; or "-" for JSONL on standard input.

    Raises:
        SourceError: there is nothing at the path, or nothing that m3search can read.
    """
    if str(source) == "-":
        return Source(
            "stdin", "jsonl", lambda: read_jsonl_stream(sys.stdin.buffer, "stdin"), lambda: Estimate(None, None)
        )
    path = Path(source)
    name = str(path)
    if path.is_dir():
        for corpus in (path / "corpus.jsonl", path / "corpus.jsonl.gz"):
            if corpus.is_file():
                return open_source(corpus)
        return Source(name, "folder", partial(read_folder, path, name), partial(estimate_folder, path, name))
    if not path.exists():
        raise SourceError(f"{name}: there is no such file or folder: check the path")
    return _open_file(path, name)


def _open_file(path: Path, name: str) -> Source:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    gzipped = suffixes[-1:] == [".gz"]
    kind = suffixes[-2:-1] if gzipped else suffixes[-1:]
    ending = kind[0] if kind else ""
    if ending in _JSONL:
        return Source(name, "jsonl", partial(read_jsonl, path, name), partial(estimate_jsonl, path, name))
    if ending in _DELIMITERS:
        delimiter = _DELIMITERS[ending]
        return Source(
            name,
            ending[1:],
            partial(read_delimited, path, name, delimiter),
            partial(estimate_delimited, path, name, delimiter),
        )
    if ending == ".parquet" and not gzipped:
        return Source(name, "parquet", partial(read_parquet, path, name), partial(estimate_parquet, path, name))
    known = ", ".join([*_JSONL, *_DELIMITERS])
    files = ", ".join((*TEXT, *MARKDOWN))
    hint = "for a text file give its folder" if ending in (*TEXT, *MARKDOWN) else "convert or rename it"
    raise SourceError(
        f"{name}: the ending {ending!r} says nothing of the format; known are {known} (each also with .gz), .parquet, "
        f"and folders of {files}: {hint}"
    )


def join_sources(sources: Sequence[str | Path]) -> Source:
    """Several sources as one, read one after the other; all are opened before the first is read.

    Raises:
        SourceError: one of them cannot be opened, said at once; or cannot be read, said when it is its turn.
    """
    opened = [open_source(source) for source in sources]
    return Source(
        ", ".join(source.name for source in opened),
        "+".join(dict.fromkeys(source.kind for source in opened)),
        lambda: (record for source in opened for record in source),
        lambda: Estimate.total(source.estimate() for source in opened),
    )
