"""``m3search merge``: fewer segments, and nothing deleted left in them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, print_json


def merge(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    segment_size: Annotated[
        int | None, typer.Option(help="Passages of a merged segment at most; default: as the index was built.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of making dense indexes; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Merge segments and purge what is deleted, from stored values; readers go on meanwhile.

    Example: m3search merge indexes/mine --segment-size 1000000
    """
    from m3search.index import Index

    with Index.open(index, mode="w", threads=threads) as opened:
        done, left = opened.merge(segment_size), opened.info()["segments"]
    if as_json:
        print_json({"index": str(index), **asdict(done), "left": left})
        return
    sys.stdout.write(
        f"{index}: {done.segments:,} segments merged, {done.purged:,} deleted documents purged; "
        f"{left:,} {'segment' if left == 1 else 'segments'} now\n"
    )
