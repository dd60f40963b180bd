"""``m3search info``: what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from m3search.cli.terminal import AsJson, plain, print_json, print_table, readable_bytes


def info(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare it with its checksum.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an index holds: documents, legs, encoder, weights, postings, bytes.

    Example: m3search info indexes/mine --verify
    """
    from m3search.index import Index

    with Index.open(index, verify=verify) as opened:
        found = opened.info()
    if as_json:
        print_json({**found, "verified": verify})
        return
    apart = {"inverted", "bytes"}
    rows = [[name, plain(value)] for name, value in found.items() if name not in apart and value is not None]
    rows.extend([f"{name} postings", _postings(field)] for name, field in found["inverted"].items())
    sizes = (f"{name} {readable_bytes(count)}" for name, count in found["bytes"].items() if count is not None)
    rows.append(["bytes", ", ".join(sizes)])
    if verify:
        rows.append(["verified", "every checksum holds"])
    print_table(["what", "value"], rows)


def _postings(field: dict[str, Any]) -> str:
    """What the inverted and the forward store of a field hold."""
    return (
        f"{field['postings']:,}: {field['frequent_postings']:,} of {field['frequent_terms']:,} frequent terms, "
        f"{field['rare_postings']:,} of {field['rare_terms']:,} rare ones; {field['bytes_per_posting']} bytes a posting, "
        f"{field['forward_bytes_per_posting']} more in the forward store"
    )
