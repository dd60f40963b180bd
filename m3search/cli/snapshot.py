"""``m3search snapshot``: a copy of an index that a writer may be at work on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, complain, print_json, readable_bytes


def snapshot(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    destination: Annotated[Path, typer.Argument(help="Folder of the copy, which must not be there yet.")],
    as_json: AsJson = False,
) -> None:
    """Copy the newest generation of an index, consistent while a writer works, and check every byte of the copy.

    Example: m3search snapshot indexes/mine backups/monday
    """
    from m3search.index import Index
    from m3search.storage import check_index

    with Index.open(index) as opened:
        opened.save(destination)
        generation = opened.info()["generation"]
    found = check_index(destination, 2)
    if found:
        for finding in found:
            complain(f"{finding.where}: {finding.what}")
        complain(f"{destination} is a copy of a damaged index, or was damaged on its way: check {index}")
        raise typer.Exit(1)
    with Index.open(destination) as copy:
        documents, size = len(copy), copy.info()["bytes"]["total"]
    if as_json:
        print_json(
            {
                "index": str(index),
                "copy": str(destination),
                "generation": generation,
                "documents": documents,
                "bytes": size,
            }
        )
        return
    sys.stdout.write(
        f"{destination}: generation {generation} of {index}, {documents:,} documents, {readable_bytes(size)}, checked\n"
    )
