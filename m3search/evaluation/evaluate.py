"""Evaluate: put a data set's queries to a search function and measure the answers.

Imports beir, measures, trec's types and errors. Invariant: the order in which the search returns hits is the order
that is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3search.errors import InputError
from m3search.evaluation.beir import Dataset, load_beir
from m3search.evaluation.measures import DEFAULT_MEASURES, compute, depth_for
from m3search.evaluation.trec import Qrels, Run

Search = Callable[[list[str], int], Sequence[Sequence[tuple[str, float]]]]
"""(texts of queries, depth) -> for each text at most `depth` pairs of document id and score, best first."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a run is.

    Attributes:
        name: of the data set.
        values: measure -> its value over all judged queries.
        per_query: measure -> query id -> value.
        run: query id -> (document id, score), best first.
        depth: hits asked for per query.
    """

    name: str
    values: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]] = field(repr=False)
    run: Run = field(repr=False)
    depth: int = 0

    @property
    def queries(self) -> int:
        """The number of judged queries."""
        return len(next(iter(self.per_query.values())))

    def __getitem__(self, measure: str) -> float:
        return self.values[measure]

    def __str__(self) -> str:
        values = ", ".join(f"{measure} {value:.4f}" for measure, value in self.values.items())
        return f"{self.name}: {values} over {self.queries:,} queries"

    def to_dict(self, *, per_query: bool = False) -> dict[str, Any]:
        """For JSON: name, queries, depth, values and, if asked for, the values of each query; never the run."""
        result: dict[str, Any] = {
            "name": self.name,
            "queries": self.queries,
            "depth": self.depth,
            "values": dict(self.values),
        }
        if per_query:
            result["per_query"] = {measure: dict(values) for measure, values in self.per_query.items()}
        return result


def evaluate(
    search: Search,
    dataset: Dataset | str | Path,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    split: str = "test",
    depth: int | None = None,
    drop_same_id: bool = False,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Search every query of a data set and measure the answers.

    Args:
        search: gets texts and a depth, gives the hits of each text, best first.
        dataset: queries and judgements, or a BEIR folder to load them from.
        measures: names by ir_measures.
        split: which judgements of a folder.
        depth: hits per query; None: what the measures need, see `depth_for`.
        drop_same_id: leave a document out that has the query's own id, as data sets ask for whose queries are
            documents of the corpus (BEIR's ArguAna and Quora); off unless asked for, as in BEIR's own files.
        batch: queries put to `search` at once.
        progress: called with the number of queries after each batch.

    Raises:
        SourceError: the folder cannot be read, see `load_beir`.
        InputError: see `measures.compute`; a search that gives too few or repeated answers, or NaN scores.
        MissingExtraError: ir_measures is not installed.
    """
    needed = depth_for(measures)  # first of all: a wrong name must not cost a run
    depth = needed if depth is None else depth
    if not isinstance(dataset, Dataset):
        dataset = load_beir(dataset, split)
    if depth < 1 or batch < 1:
        raise InputError(f"depth is {depth} and batch {batch}: both must be at least 1")
    run: dict[str, list[tuple[str, float]]] = {}
    for queries in _batches(list(dataset.queries), batch):
        answers = search([dataset.queries[query] for query in queries], depth + drop_same_id)
        if len(answers) != len(queries):
            raise InputError(f"the search gave {len(answers)} lists of hits for {len(queries)} queries")
        for query, hits in zip(queries, answers, strict=True):
            kept = [hit for hit in hits if not (drop_same_id and hit[0] == query)]
            run[query] = _checked(query, kept[:depth])
        if progress is not None:
            progress(len(queries))
    values, per_query = compute(measures, dataset.qrels, run)
    return Evaluation(dataset.name, values, per_query, run, depth)


def evaluate_run(
    run: Run, qrels: Qrels, measures: Sequence[str] = DEFAULT_MEASURES, *, name: str = "run"
) -> Evaluation:
    """Measure a run that is there already, such as one from `read_run`.

    Raises:
        InputError: see `measures.compute`; repeated documents or NaN scores in the run.
        MissingExtraError: ir_measures is not installed.
    """
    checked = {query: _checked(query, list(hits)) for query, hits in run.items()}
    values, per_query = compute(measures, qrels, checked)
    return Evaluation(name, values, per_query, checked, max(map(len, checked.values()), default=0))


def _batches(queries: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(queries), size):
        yield queries[start : start + size]


def _checked(query: str, hits: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The hits, if they make a ranking."""
    seen: set[str] = set()
    for document, score in hits:
        if document in seen:
            raise InputError(f"query {query!r}: document {document!r} stands twice among the hits")
        if math.isnan(score):
            raise InputError(f"query {query!r}: the score of document {document!r} is NaN")
        seen.add(document)
    return [(document, float(score)) for document, score in hits]
