"""``m3search mine``: hard negatives for a training, from an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.search import WeightsOption
from m3search.cli.terminal import AsJson, note, print_json


def mine(
    index: Annotated[Path, typer.Argument(help="Folder of the index that the negatives come from.")],
    data: Annotated[
        Path, typer.Argument(help="JSONL with query and pos, texts that are in the index, or a BEIR folder.")
    ],
    output: Annotated[Path, typer.Option(help="The new JSONL.")],
    split: Annotated[str, typer.Option(help="Which judgements of a BEIR folder.")] = "train",
    negatives: Annotated[int, typer.Option(help="Negatives of a query.")] = 7,
    depth: Annotated[int, typer.Option(help="How many of the best documents to look at.")] = 100,
    skip: Annotated[int, typer.Option(help="How many of the best candidates to pass over.")] = 0,
    margin: Annotated[
        float, typer.Option(help="A negative scores at most this share of the query's worst positive.")
    ] = 0.95,
    choose: Annotated[str, typer.Option(help="best: the hardest; random: any that are left.")] = "best",
    scores: Annotated[bool, typer.Option(help="Whether to write the scores down, for --teacher of train.")] = False,
    weights: WeightsOption = None,
    rerank: Annotated[int, typer.Option(help="How many documents ColBERT scores.")] = 0,
    seed: Annotated[int, typer.Option(help="Of random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Mine hard negatives: what ranks high in an index and does not answer.

    Example: m3search mine indexes/mine pairs.jsonl --output mined.jsonl --negatives 7 --margin 0.95
    """
    from dataclasses import asdict

    from m3search.index import Index
    from m3search.indexing.progress import progress_bar
    from m3search.training import read_examples, write_examples
    from m3search.training.mining import Mined, questions_of_beir, questions_of_examples
    from m3search.training.mining import mine as mined

    found = Mined()
    with Index.open(index) as opened:
        if data.is_dir():
            questions = questions_of_beir(opened, data, split)
        else:
            questions = questions_of_examples(opened, list(read_examples(data)))
        with progress_bar(len(questions), enabled=not as_json, what="queries") as advance:
            examples = mined(
                opened,
                questions,
                negatives=negatives,
                depth=depth,
                skip=skip,
                margin=margin,
                choose=choose,
                scores=scores,
                weights=weights,
                rerank=rerank,
                seed=seed,
                found=found,
                progress=advance,
            )
            write_examples(examples, output)
    if as_json:
        print_json(
            {"output": str(output), **{key: value for key, value in asdict(found).items() if key != "first_unknown"}}
        )
        return
    note(f"{found.examples:,} examples with {found.negatives:,} negatives in {output}")
    note(f"{found.too_near:,} candidates were too near to a positive; {found.poor:,} queries had no negative left")
    if found.unknown:
        note(
            f"{found.unknown:,} queries have no positive in {index} and were left out, the first is "
            f"{found.first_unknown!r}: build the index of the documents that the positives are from"
        )
