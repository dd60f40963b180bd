"""Mining: hard negatives for examples, from an index of one's own.

Imports index, evaluation, records and errors. Invariant: a negative is no positive of its query, says nothing that a
positive says, and scores below the margin of the query's worst positive, by the same exact blend.

What ranks high and is not known to answer may well answer: passages that score nearly as high as a positive are left out
(Moreira and others 2024, "NV-Retriever", section 3: at most 95% of the positive's score).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m3search.errors import InputError
from m3search.training.examples import Example

if TYPE_CHECKING:
    from m3search.index import Index
    from m3search.records import Hit, Hits, Weights

_BATCH = 64


@dataclass(slots=True)
class Mined:
    """What was found.

    Attributes:
        examples: how many have negatives now.
        negatives: of all of them.
        too_near: candidates that the margin left out.
        unknown: queries none of whose positives is in the index; they are left out.
        poor: queries for which there was no negative; they are left out.
    """

    examples: int = 0
    negatives: int = 0
    too_near: int = 0
    unknown: int = 0
    poor: int = 0
    first_unknown: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the documents of the index that answer it.

    Attributes:
        query: the query.
        positives: id -> text.
    """

    query: str
    positives: Mapping[str, str]


def questions_of_examples(index: Index, examples: Sequence[Example]) -> list[Question]:
    """Examples whose positives are documents of the index: their text, or title and text.

    Args:
        index: is read once from beginning to end.
        examples: their negatives are passed over.
    """
    wanted = {_plain(text) for example in examples for text in example.positives}
    ids: dict[str, str] = {}
    for document in index:
        for text in (document.text, document.content):
            if _plain(text) in wanted:
                ids.setdefault(_plain(text), document.id)
    return [
        Question(one.query, {ids[_plain(text)]: text for text in one.positives if _plain(text) in ids})
        for one in examples
    ]


def questions_of_beir(index: Index, folder: str | Path, split: str = "train") -> list[Question]:
    """The judged queries of a BEIR folder; grades above 0 are positives.

    Raises:
        SourceError: the folder cannot be read.
    """
    from m3search.evaluation import load_beir

    data = load_beir(folder, split)
    questions = []
    for query, text in data.queries.items():
        ids = [id for id, grade in data.qrels[query].items() if grade > 0]  # noqa: A001 - the user's word
        documents = [document for document in map(index.get, ids) if document is not None]
        questions.append(Question(text, {document.id: document.content for document in documents}))
    return questions


def mine(
    index: Index,
    questions: Iterable[Question],
    *,
    negatives: int = 7,
    depth: int = 100,
    skip: int = 0,
    margin: float = 0.95,
    choose: str = "best",
    scores: bool = False,
    weights: str | Mapping[str, float] | Weights | None = None,
    rerank: int = 0,
    seed: int = 0,
    found: Mined | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Example]:
    """Examples with hard negatives, one for each query that has a positive in the index.

    Args:
        index: where the negatives come from.
        questions: queries and their positives.
        negatives: of each query; where fewer are left, fewer.
        depth: how many of the best documents to look at.
        skip: how many of the best candidates to pass over.
        margin: a negative scores at most this share of the worst positive; above a score of 0 a share of it, below as
            far from it. 1: whatever scores lower than the positive.
        choose: "best" takes the hardest, "random" any of those that are left.
        scores: whether to write the blend's scores down, as a teacher's.
        weights: of the blend; None: the index's own.
        rerank: documents that ColBERT scores, as in a search.
        seed: of "random".
        found: is told what was found.
        progress: called with how many queries were done.

    Raises:
        InputError: numbers that cannot be.
    """
    if negatives < 1 or depth < 1 or skip < 0 or not 0 < margin <= 1:
        raise InputError(
            f"negatives {negatives}, depth {depth}, skip {skip}, margin {margin}: give negatives and depth from 1, skip "
            "from 0, and a margin above 0 and at most 1"
        )
    if choose not in {"best", "random"}:
        raise InputError(f'choose is {choose!r}: "best" takes the hardest negatives, "random" any')
    found = found if found is not None else Mined()
    generator = np.random.default_rng(seed)
    for batch in _batches(questions):
        known = [one for one in batch if one.positives]
        found.unknown += len(batch) - len(known)
        found.first_unknown = found.first_unknown or next((one.query for one in batch if not one.positives), "")
        every = index.search_batch([one.query for one in known], depth, weights=weights, rerank=rerank)
        for question, hits in zip(known, every, strict=True):
            # the positives' own scores, exact by the same blend, wherever they rank
            own = index.search(
                question.query, len(question.positives), ids=list(question.positives), weights=weights, rerank=rerank
            )
            candidates = _candidates(question, hits, own, margin, found)[skip:]
            if choose == "random" and len(candidates) > negatives:
                places = np.sort(generator.choice(len(candidates), negatives, replace=False))
                candidates = [candidates[place] for place in places]
            candidates = candidates[:negatives]
            if not candidates:
                found.poor += 1
                continue
            found.examples += 1
            found.negatives += len(candidates)
            yield _example(question, candidates, own, scores=scores)
        progress(len(batch))


def _candidates(question: Question, hits: Hits, own: Hits, margin: float, found: Mined) -> list[Hit]:
    # a lexical blend returns nothing that shares no term: it scores 0
    scores = {hit.id: hit.score for hit in own}
    worst = min(scores.get(id, 0.0) for id in question.positives)  # noqa: A001 - the user's word
    highest = worst - (1 - margin) * abs(worst)
    said = {_plain(text) for text in question.positives.values()}
    candidates = []
    for hit in hits:
        if hit.id in question.positives or _plain(hit.document.content) in said or _plain(hit.text) in said:
            continue
        if hit.score > highest or (margin == 1 and hit.score == worst):
            found.too_near += 1
        else:
            candidates.append(hit)
    return candidates


def _example(question: Question, candidates: Sequence[Hit], own: Hits, *, scores: bool) -> Example:
    by_id = {hit.id: hit.score for hit in own}
    return Example(
        question.query,
        tuple(question.positives.values()),
        tuple(_text(hit) for hit in candidates),
        tuple(by_id.get(id, 0.0) for id in question.positives) if scores else None,  # noqa: A001 - the user's word
        tuple(hit.score for hit in candidates) if scores else None,
    )


def _text(hit: Hit) -> str:
    """The document, or of a long one the passage that scored."""
    if hit.span == (0, len(hit.text)) or not hit.passage:
        return hit.document.content
    return f"{hit.title}\n{hit.passage}" if hit.title else hit.passage


def _plain(text: str) -> str:
    return " ".join(text.split())


def _batches(questions: Iterable[Question]) -> Iterator[list[Question]]:
    batch: list[Question] = []
    for question in questions:
        batch.append(question)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
