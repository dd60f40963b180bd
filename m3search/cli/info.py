"""``m3search info``: what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, plain, print_json, print_table, readable_bytes


def info(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare it with its checksum.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an index holds: documents, legs, encoder, weights, bytes.

    Example: m3search info indexes/mine --verify
    """
    from m3search.index import Index

    with Index.open(index, verify=verify) as opened:
        found = opened.info()
    if as_json:
        print_json({**found, "verified": verify})
        return
    rows = [[name, plain(value)] for name, value in found.items() if name != "bytes" and value is not None]
    sizes = ", ".join(f"{name} {readable_bytes(count)}" for name, count in found["bytes"].items())
    rows.append(["bytes", sizes])
    if verify:
        rows.append(["verified", "every checksum holds"])
    print_table(["what", "value"], rows)
