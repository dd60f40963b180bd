"""BEIR folders: the queries and the judgements of a split.

Owns queries.jsonl and qrels/<split>.tsv; the corpus is indexing's. Imports lines and errors. Invariant: a `Dataset`
has the text of exactly the queries that are judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from m3search.errors import SourceError
from m3search.evaluation.lines import decoded, placed_lines, unreadable

HIGHEST_GRADE = 1_000_000
"""Of a judgement, and its negative the lowest: trec_eval takes memory in proportion to grades."""

_SCORE_NAMES = frozenset({"score", "relevance", "rel", "label", "grade"})


@dataclass(frozen=True, slots=True)
class Dataset:
    """Queries with judgements.

    Attributes:
        name: what it is called in tables, such as "scifact/test".
        queries: query id -> text, every judged query.
        qrels: query id -> document id -> grade; above 0 is relevant.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def load_beir(folder: str | Path, split: str = "test") -> Dataset:
    """A split of a BEIR folder; queries without judgements in it are left out.

    Args:
        folder: has queries.jsonl and qrels/<split>.tsv.
        split: "test", "dev", "train", ...

    Raises:
        SourceError: a file is missing or has an unreadable line (file:line), there is no such split, or judged
            queries have no text.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder}: there is no such folder: give a BEIR folder, with queries.jsonl and qrels/")
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))
        there = f"the splits there are {', '.join(splits)}" if splits else "there is no qrels/*.tsv in this folder"
        raise SourceError(f"{folder}: there are no judgements for the split {split!r}: {there}")
    qrels = _qrels(path)
    texts = _queries(folder / "queries.jsonl")
    missing = [query for query in qrels if query not in texts]
    if missing:
        raise SourceError(
            f"{path}: {len(missing)} judged queries are not in {folder / 'queries.jsonl'}, the first is {missing[0]!r}: "
            "the two files do not belong together"
        )
    name = f"{folder.resolve().name}/{split}"
    return Dataset(name, {query: texts[query] for query in qrels}, qrels)


def _queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    for where, line in placed_lines(path):
        query, text = _query(line, where)
        if query in queries:
            raise unreadable(where, f"the query {query!r} was there already: remove one of the two")
        queries[query] = text
    return queries


def _query(line: bytes, where: str) -> tuple[str, str]:
    try:
        value = json.loads(decoded(line, where))
    except json.JSONDecodeError as error:
        raise unreadable(where, f"broken JSON at column {error.colno}: {error.msg}: mend or remove the line") from error
    if not isinstance(value, dict):
        raise unreadable(where, 'not a JSON object: a query is {"_id": "1", "text": "..."}')
    query = value.get("_id", value.get("id"))
    if isinstance(query, int) and not isinstance(query, bool):
        query = str(query)
    if not isinstance(query, str) or not query:
        raise unreadable(where, 'there is no "_id" that is a string: give every query one')
    if not isinstance(value.get("text"), str):
        raise unreadable(where, f'the query {query!r} has no "text" that is a string: give it one')
    return query, value["text"]


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    """Judgements of three columns, with or without a header."""
    qrels: dict[str, dict[str, int]] = {}
    first = True
    for where, line in placed_lines(path):
        fields = [field.strip() for field in decoded(line, where).split("\t")]
        if len(fields) != 3:
            raise unreadable(
                where, f"{len(fields)} columns: a judgement is query-id, corpus-id and score, separated by tabs"
            )
        header = first and fields[2].lower() in _SCORE_NAMES
        first = False
        if not header:
            add_judgement(qrels, fields[0], fields[1], fields[2], where)
    if not qrels:
        raise SourceError(f"{path}: there are no judgements in this file")
    return qrels


def add_judgement(qrels: dict[str, dict[str, int]], query: str, document: str, grade: str, where: str) -> None:
    """Enter one judgement.

    Raises:
        SourceError: the grade is no whole number, an id is empty, or the pair has another grade already.
    """
    try:
        number = int(grade)
    except ValueError:
        raise unreadable(where, f"the grade {grade!r} is no whole number: judgements are 0, 1, 2, ...") from None
    if abs(number) > HIGHEST_GRADE:
        raise unreadable(where, f"the grade {number} is out of range: at most {HIGHEST_GRADE:,} is possible")
    if not query or not document:
        raise unreadable(where, "an id is empty: a judgement names a query and a document")
    known = qrels.setdefault(query, {}).setdefault(document, number)
    if known != number:
        raise unreadable(
            where, f"document {document!r} has grade {number} for query {query!r}, and {known} on an earlier line"
        )
