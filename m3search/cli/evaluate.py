"""``m3search eval``: how good an index is on a BEIR folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.search import DepthOption, FilterOption, FusionOption, MissingOption, RerankOption, WeightsOption
from m3search.cli.terminal import AsJson, note, print_json, print_table


def evaluate(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    dataset: Annotated[Path, typer.Argument(help="BEIR folder: queries.jsonl and qrels/SPLIT.tsv.")],
    split: Annotated[str, typer.Option(help="Which qrels.")] = "test",
    measure: Annotated[
        list[str] | None, typer.Option("--measure", "-m", help="As ir-measures writes them; may be repeated.")
    ] = None,
    weights: WeightsOption = None,
    rerank: RerankOption = 100,
    fusion: FusionOption = "raw",
    missing: MissingOption = "complete",
    depth: DepthOption = None,
    filter: FilterOption = None,  # noqa: A002 - the user's word
    run: Annotated[Path | None, typer.Option(help="Also write the answers to this file, in TREC's format.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure an index against a BEIR folder's queries and judgements.

    Example: m3search eval indexes/scifact beir/scifact --measure nDCG@10 --run scifact.trec
    """
    from m3search.evaluation import DEFAULT_MEASURES, load_beir, write_run
    from m3search.index import Index
    from m3search.indexing.progress import progress_bar
    from m3search.reader import SearchOptions

    options = SearchOptions(weights=weights, rerank=rerank, fusion=fusion, missing=missing, depth=depth, filter=filter)
    data = load_beir(dataset, split)
    with Index.open(index) as opened, progress_bar(len(data.queries), enabled=not as_json, what="queries") as advance:
        measures = tuple(measure or DEFAULT_MEASURES)
        result = opened.evaluate(data, measures=measures, progress=advance, **options)
    if run is not None:
        write_run(result.run, run)
        note(f"answers written to {run}")
    if as_json:
        print_json({**result.to_dict(), "weights": weights, "fusion": fusion, "run": None if run is None else str(run)})
    else:
        rows = [[name, f"{value:.4f}"] for name, value in result.values.items()]
        print_table(["measure", "value>"], rows, f"{result.name}, {result.queries:,} queries")
