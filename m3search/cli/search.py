"""``m3search search``: one query, one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.drawing import draw_explanation, draw_plan
from m3search.cli.terminal import AsJson, print_hits, print_json

WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        help="Of the legs, as dense=1,lexical=0.3, or m3, m3-long, m3-readme; else those of the index.",
    ),
]
RerankOption = Annotated[
    int, typer.Option(help="Documents that ColBERT scores, where the index has its vectors and it weighs.")
]

FilterOption = Annotated[
    str | None,
    typer.Option("--filter", "-f", help="Only documents with such metadata, as 'lang=de year>=2020'; docs/filters.md."),
]
FusionOption = Annotated[
    str, typer.Option(help="raw blends scores and is proven; rrf, minmax and zscore fuse lists, for comparison.")
]
MissingOption = Annotated[
    str, typer.Option(help="complete computes what a leg did not return; zero takes it as nothing.")
]
DepthOption = Annotated[
    int | None, typer.Option(help="Candidates of each leg, at first or, where lists are fused, at all.")
]


def search(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    query: Annotated[str, typer.Argument(help="What to search for; '' with --id or --filter lists these.")],
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    weights: WeightsOption = None,
    offset: Annotated[int, typer.Option(help="How many better documents to pass over.")] = 0,
    rerank: RerankOption = 100,
    fusion: FusionOption = "raw",
    missing: MissingOption = "complete",
    depth: DepthOption = None,
    max_ms: Annotated[float | None, typer.Option(help="Milliseconds after which legs are not asked again.")] = None,
    max_candidates: Annotated[int | None, typer.Option(help="Passages that the legs together may propose.")] = None,
    collapse: Annotated[
        bool, typer.Option(help="A document is one hit, by its best passage; or every passage is one.")
    ] = True,
    dense_effort: Annotated[
        int | None, typer.Option(help="How hard an approximate dense index looks: efSearch of hnsw, nprobe of ivf.")
    ] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Search only this document; may be repeated.")] = None,
    filter: FilterOption = None,  # noqa: A002 - the user's word
    explain: Annotated[
        bool, typer.Option("--explain", help="Also draw the plan with what became of it, and each hit's parts.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only show how the query would be answered.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search an index: a table of hits with the part each leg has in their scores.

    Example: m3search search indexes/mine "open a zip file" -k 5 --weights dense=1,bm25=0.5 --explain
    """
    from m3search.index import Index
    from m3search.reader import SearchOptions

    options = SearchOptions(
        weights=weights,
        ids=ids or None,
        filter=filter,
        offset=offset,
        rerank=rerank,
        fusion=fusion,
        missing=missing,
        depth=depth,
        max_ms=max_ms,
        max_candidates=max_candidates,
        collapse=collapse,
        dense_effort=dense_effort,
        explain=explain,
    )
    with Index.open(index) as opened:
        if plan:
            made = opened.plan(query, k, **options)
            print_json({"query": query, "plan": made.to_dict()}) if as_json else draw_plan(made)
            return
        hits = opened.search(query, k, **options)
        if as_json:
            print_json({"query": query, **hits.to_dict()})
        else:
            print_hits(hits, query)
            if explain:
                draw_explanation(hits)
