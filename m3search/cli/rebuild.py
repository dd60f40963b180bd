"""``m3search rebuild``: the same documents and vectors, other settings, nothing encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from m3search.cli.build import NO_ENCODER, numbers, report_build
from m3search.cli.terminal import AsJson


def rebuild(
    index: Annotated[Path, typer.Argument(help="Folder of the index, which stays as it is.")],
    to: Annotated[Path, typer.Option("--to", help="Folder of the new index.")],
    dense: Annotated[
        str | None, typer.Option(help="How dense vectors are searched, as for build; default: as before.")
    ] = None,
    dense_options: Annotated[str | None, typer.Option(help="Of the dense index, as for build.")] = None,
    colbert: Annotated[
        str | None, typer.Option(help="Another codec of the token vectors, or none to leave them out.")
    ] = None,
    bm25: Annotated[bool | None, typer.Option(help="Add BM25, or leave it out; default: as before.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Of BM25's stemming, as en or de; none does not stem; default: as before.")
    ] = None,
    segment_size: Annotated[int | None, typer.Option(help="Passages of a segment; default: as before.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", "-w", help="That a search takes when it names none; default: as before.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index that is at --to.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads of making a dense index; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new index of stored vectors and texts with other settings; nothing is encoded, and no model is needed.

    Example: m3search rebuild indexes/mine --to indexes/graph --dense hnsw --segment-size 1000000
    """
    from m3search.index import Index

    terms: bool | dict[str, Any] | None = bm25
    if language is not None and bm25 is not False:
        terms = {"language": None if language == NO_ENCODER else language}
    with Index.rebuild(
        index,
        to,
        dense=dense,
        dense_options=numbers(dense_options),
        colbert=False if colbert == NO_ENCODER else colbert,
        bm25=terms,
        segment_size=segment_size,
        weights=weights,
        overwrite=overwrite,
        threads=threads,
        progress=not as_json,
    ) as made:
        report_build(made, as_json=as_json)
