"""``m3search check``: whether an index is what was written."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, complain, print_json, print_table
from m3search.errors import M3SearchError


def check(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    level: Annotated[
        int,
        typer.Option(
            min=1,
            max=3,
            help="1: manifest, sizes and headers; 2: every checksum and count; 3: decode everything.",
        ),
    ] = 2,
    as_json: AsJson = False,
) -> None:
    """Check an index for damage: exit code 0 if it is sound, 1 if it is damaged, 2 if it cannot be checked.

    Example: m3search check indexes/mine --level 3
    """
    from m3search.storage import check_index

    try:
        found = check_index(index, level)
    except M3SearchError as error:
        if as_json:
            print_json({"index": str(index), "level": level, "sound": None, "error": str(error), "findings": []})
        complain(str(error))
        raise typer.Exit(2) from error
    if as_json:
        findings = [asdict(finding) for finding in found]
        print_json({"index": str(index), "level": level, "sound": not found, "findings": findings})
    elif found:
        print_table(["where", "what"], [[finding.where, finding.what] for finding in found])
    else:
        sys.stdout.write(f"{index}: sound, as far as level {level} looks\n")
    if found:
        raise typer.Exit(1)
