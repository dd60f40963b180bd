"""``m3search add``: more documents for an index."""

from __future__ import annotations

import sys
from operator import length_hint
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, note, print_json, readable_seconds


def add(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    sources: Annotated[
        list[str],
        typer.Argument(help="As for build: JSONL, CSV, TSV, Parquet, a folder of texts, or -.", metavar="SOURCE..."),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of documents with the same id, which else are an error.")
    ] = False,
    on_error: Annotated[
        str, typer.Option(help="raise: stop at the first bad record, and add nothing; skip: go on and report them all.")
    ] = "raise",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the encoder and of making a dense index; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add documents to an index in one commit, which is durable when the command ends.

    Example: m3search add indexes/mine more.jsonl --replace
    """
    from m3search.index import Index
    from m3search.indexing.progress import progress_bar
    from m3search.indexing.sources import join_sources

    source = join_sources(sources)
    with Index.open(index, mode="w", threads=threads) as opened:
        with (
            progress_bar(length_hint(source) or None, enabled=not as_json, what="adding") as advance,
            opened.writer(progress=advance) as writer,
        ):
            (writer.upsert if replace else writer.add)(source, on_error=on_error)
        report, held = writer.report, len(opened)
    if as_json:
        print_json({"index": str(index), **report.to_dict(), "replaced": report.replaced, "held": held})
        return
    for part in (report.empty, report.skipped):
        if part:
            note(part.summary())
    sys.stdout.write(
        f"{index}: {report.documents:,} documents added, {report.replaced:,} of them in the place of others, "
        f"{held:,} in all, {readable_seconds(report.seconds)}\n"
    )
