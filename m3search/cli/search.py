"""``m3search search``: one query, one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, print_hits, print_json

WeightsOption = Annotated[
    str | None,
    typer.Option("--weights", "-w", help="Of the legs, as dense=1,lexical=0.3; without it those of the index."),
]
RerankOption = Annotated[
    int, typer.Option(help="Documents that ColBERT scores, where the index has its vectors and it weighs.")
]


def search(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    query: Annotated[str, typer.Argument(help="What to search for.")],
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    weights: WeightsOption = None,
    rerank: RerankOption = 100,
    dense_effort: Annotated[
        int | None, typer.Option(help="How hard an approximate dense index looks: efSearch of hnsw, nprobe of ivf.")
    ] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Search only this document; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search an index: a table of hits with the part each leg has in their scores.

    Example: m3search search indexes/mine "open a zip file" -k 5 --weights dense=1,bm25=0.5
    """
    from m3search.index import Index

    with Index.open(index) as opened:
        hits = opened.search(query, k, weights=weights, rerank=rerank, dense_effort=dense_effort, ids=ids or None)
        if as_json:
            print_json({"query": query, **hits.to_dict()})
        else:
            print_hits(hits, query)
