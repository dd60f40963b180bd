"""``m3search facets``: which values a field has, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.search import FilterOption, WeightsOption
from m3search.cli.terminal import AsJson, print_json, print_table


def facets(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    field: Annotated[str, typer.Argument(help="Of the metadata, such as lang or author.name.")],
    query: Annotated[str | None, typer.Option("--query", "-q", help="Count among the best documents for it.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many documents these are.")] = 1000,
    filter: FilterOption = None,  # noqa: A002 - the user's word
    limit: Annotated[int, typer.Option(help="How many values; 0: all.")] = 10,
    weights: WeightsOption = None,
    as_json: AsJson = False,
) -> None:
    """Count the values of a field: how many documents have each, the most frequent first.

    Example: m3search facets indexes/mine lang --filter 'year>=2020' --query "open a zip file"
    """
    from m3search.index import Index

    with Index.open(index) as opened:
        counts = opened.facets(field, query=query, k=k, limit=limit or None, filter=filter, weights=weights)
    if as_json:
        values = [{"value": value, "documents": count} for value, count in counts.items()]
        print_json({"index": str(index), "field": field, "values": values})
        return
    rows = [[_written(value), f"{count:,}"] for value, count in counts.items()]
    print_table([field, "documents>"], rows)


def _written(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
