r"""Example: a query with passages that answer it and passages that do not; the files of examples.

Imports errors. Invariant: an `Example` has at least one positive, and a score for each passage or for none.

The format is FlagEmbedding's, one JSON object a line: ``{"query": "...", "pos": ["..."], "neg": ["..."], "pos_scores":
[1.0], "neg_scores": [0.1]}``; ``neg`` and the scores of a teacher may be missing. A file is a data set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3search.errors import SourceError

ALONE = "no_in_batch_neg"
"""Ending of a file's stem, as FlagEmbedding has it: passages of other queries are no negatives in this data set."""


@dataclass(frozen=True, slots=True)
class Example:
    """A query and its passages.

    Attributes:
        query: the query.
        positives: texts that answer it.
        negatives: texts that do not.
        positive_scores: a teacher's, one for each positive, or None.
        negative_scores: the same of the negatives.
    """

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    positive_scores: tuple[float, ...] | None = None
    negative_scores: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """A data set; a batch is made of one only.

    Attributes:
        name: the file's stem.
        examples: at least one.
        in_batch: whether passages of other queries count as negatives.
    """

    name: str
    examples: tuple[Example, ...]
    in_batch: bool = True

    @property
    def scored(self) -> bool:
        """Whether a teacher scored every passage."""
        return all(example.positive_scores is not None for example in self.examples)


def read_sets(paths: Iterable[str | Path]) -> list[ExampleSet]:
    """The data sets of files, and of the ``.jsonl`` files of folders.

    Raises:
        SourceError: a file cannot be read or is empty, or a line is no example (file:line).
    """
    sets: list[ExampleSet] = []
    for path in map(Path, paths):
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise SourceError(f"{path}: there are no .jsonl files in this folder: give files of examples")
        for file in files:
            examples = tuple(read_examples(file))
            if not examples:
                raise SourceError(f'{file}: there are no examples: write {{"query": "...", "pos": ["..."]}} a line')
            sets.append(ExampleSet(file.stem, examples, not file.stem.endswith(ALONE)))
    if not sets:
        raise SourceError("no files of examples were given: give at least one .jsonl file")
    return sets


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a file.

    Raises:
        SourceError: the file cannot be read, or a line is no example (file:line).
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _example(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}: give a JSONL file in UTF-8") from error


def write_examples(examples: Iterable[Example], path: Path) -> int:
    """Writes a file that `read_examples` reads; returns how many there were."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            record: dict[str, Any] = {"query": example.query, "pos": example.positives, "neg": example.negatives}
            if example.positive_scores is not None:
                record |= {"pos_scores": example.positive_scores, "neg_scores": example.negative_scores}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def _example(line: str, where: str) -> Example:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise SourceError(f"{where}: broken JSON ({error}): mend or remove the line", where=where) from error
    if not isinstance(record, dict) or not isinstance(record.get("query"), str):
        raise SourceError(f'{where}: there is no "query" that is a string: give the example one', where=where)
    positives, negatives = (_texts(record, name, where) for name in ("pos", "neg"))
    if not positives:
        raise SourceError(f'{where}: "pos" is empty: an example has at least one passage that answers it', where=where)
    return Example(
        record["query"],
        positives,
        negatives,
        _scores(record, "pos_scores", len(positives), where),
        _scores(record, "neg_scores", len(negatives), where) if record.get("pos_scores") is not None else None,
    )


def _texts(record: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = record.get(name) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SourceError(f'{where}: "{name}" is no list of strings: write ["...", "..."]', where=where)
    return tuple(value)


def _scores(record: Mapping[str, Any], name: str, count: int, where: str) -> tuple[float, ...] | None:
    value: Sequence[Any] | None = record.get(name)
    if value is None and (name == "pos_scores" or not count):
        return None if name == "pos_scores" else ()
    numbers = isinstance(value, list) and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )
    if value is None or not numbers or len(value) != count:
        raise SourceError(f'{where}: "{name}" must be {count} finite numbers, one for each passage', where=where)
    return tuple(map(float, value))
