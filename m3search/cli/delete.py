"""``m3search delete``: documents out of an index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.search import FilterOption
from m3search.cli.terminal import AsJson, print_json


def delete(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of documents, or - for one a line on standard input.")
    ] = None,
    filter: FilterOption = None,  # noqa: A002 - the user's word
    threads: Annotated[int | None, typer.Option(help="CPU threads of making dense indexes; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents in one commit; an id that is not there is an error, and then nothing is deleted.

    Example: m3search delete indexes/mine zipfile tarfile, or m3search delete indexes/mine --filter 'year<2000'
    """
    from m3search.index import Index

    wanted = [line.strip() for line in sys.stdin if line.strip()] if ids == ["-"] else ids or None
    with Index.open(index, mode="w", threads=threads) as opened:
        count, held = opened.delete(wanted, filter=filter), len(opened)
    if as_json:
        print_json({"index": str(index), "deleted": count, "held": held})
        return
    sys.stdout.write(f"{index}: {count:,} documents deleted, {held:,} left\n")
