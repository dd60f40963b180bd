"""``m3search compact``: the disk that the store no longer uses, given back."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, print_json, readable_bytes


def compact(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    as_json: AsJson = False,
) -> None:
    """Write the store anew without the pages that nothing uses, and give them back; readers go on meanwhile.

    Example: m3search compact indexes/mine
    """
    from m3search.index import Index

    with Index.open(index, mode="w") as opened:
        done = opened.compact(progress=not as_json)
    freed = done.before - done.after
    if as_json:
        print_json({"index": str(index), **asdict(done), "freed": freed})
        return
    sys.stdout.write(
        f"{index}: the store had {readable_bytes(done.before)} and has {readable_bytes(done.after)}; "
        f"{readable_bytes(max(freed, 0))} given back, when the last reader of the old one has gone\n"
    )
