"""Batches: what goes through the model in one step, planned from a seed.

Imports its neighbours, encoder's tokenizer and torch. Invariant: which examples, passages and negatives make the batches
of an epoch follows from seed and epoch alone, so a training that was interrupted goes on with the batches it would have
had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from m3search.errors import InputError

if TYPE_CHECKING:
    from m3search.encoder.tokenizer import TextTokenizer, TokenizedTexts
    from m3search.training.examples import Example, ExampleSet

Side = dict[str, torch.Tensor]
"""Texts of one side: "ids" i64[n, length], and bool[n, length] "mask" (no padding), "kept" (neither padding nor what
stands before a text), "words" (kept, and carries a word)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The texts of a step.

    Attributes:
        queries: q texts.
        passages: q groups of texts, each the query's positive first.
        teacher: q lists of a teacher's scores of the group, or None.
        in_batch: whether other queries' passages are negatives.
        positives: all positives that each query has.
    """

    queries: list[str]
    passages: list[list[str]]
    teacher: list[list[float]] | None
    in_batch: bool
    positives: list[frozenset[str]]


class Batches(Dataset[Batch]):
    """All batches of an epoch; `set_epoch` shuffles anew."""

    def __init__(self, sets: Sequence[ExampleSet], *, size: int, group: int, teacher: bool, seed: int) -> None:
        """Plans the first epoch.

        Args:
            sets: the data sets; a batch has examples of one.
            size: queries of a batch.
            group: passages of a query: a positive, the rest negatives.
            teacher: whether scores go along.
            seed: of all choices.

        Raises:
            InputError: a set lacks what is asked for.
        """
        for one in sets:
            if group > 1 and not all(example.negatives for example in one.examples):
                raise InputError(
                    f"the data set {one.name!r} has examples without negatives, but {group} passages were asked for "
                    "each query: mine negatives (m3search mine), or ask for 1 passage and train with those of the batch"
                )
            if teacher and not one.scored:
                raise InputError(f"the data set {one.name!r} has examples without scores: leave the teacher out")
            if group == 1 and not one.in_batch:
                raise InputError(f"the data set {one.name!r} uses no passages of other queries: ask for 2 or more")
        self._sets, self._size, self._group, self._teacher, self._seed = sets, size, group, teacher, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Takes the batches of another epoch; the trainer calls it."""
        self._epoch = epoch
        generator = np.random.default_rng((self._seed, epoch))
        plan: list[tuple[ExampleSet, np.ndarray[Any, Any]]] = []
        for one in self._sets:
            order = generator.permutation(len(one.examples))
            cuts = [order[start : start + self._size] for start in range(0, len(order), self._size)]
            # a lonely query has no negatives but its own
            kept = [cut for cut in cuts if len(cut) > 1 or not one.in_batch or self._group > 1] or cuts[:1]
            plan += [(one, cut) for cut in kept]
        self._plan = [plan[place] for place in generator.permutation(len(plan))]

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, place: int) -> Batch:
        """A batch; the same for the same epoch and place."""
        one, rows = self._plan[place]
        generator = np.random.default_rng((self._seed, self._epoch, place))
        picked = [self._pick(one.examples[row], generator) for row in rows]
        return Batch(
            [one.examples[row].query for row in rows],
            [texts for texts, _ in picked],
            [scores for _, scores in picked] if self._teacher else None,
            one.in_batch,
            [frozenset(one.examples[row].positives) for row in rows],
        )

    def _pick(self, example: Example, generator: np.random.Generator) -> tuple[list[str], list[float]]:
        positive = int(generator.integers(len(example.positives)))
        wanted, there = self._group - 1, len(example.negatives)
        negatives: list[int] = []
        while len(negatives) < wanted:
            # where there are too few, some come again
            negatives += generator.permutation(there)[: wanted - len(negatives)].tolist()
        texts = [example.positives[positive], *(example.negatives[row] for row in negatives)]
        if not self._teacher:
            return texts, []
        assert example.positive_scores is not None
        assert example.negative_scores is not None
        return texts, [example.positive_scores[positive], *(example.negative_scores[row] for row in negatives)]


class Collator:
    """A batch's texts to tensors."""

    def __init__(
        self, queries: TextTokenizer, passages: TextTokenizer, *, query_prefix: str = "", passage_prefix: str = ""
    ) -> None:
        """Takes a tokenizer for either side, each with its own limit, and what stands before their texts."""
        self._queries, self._passages = queries, passages
        self._prefixes = query_prefix, passage_prefix

    def __call__(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """The one batch that a step has: sides "queries" and "passages", "teacher" f32[q, group] or None.

        "same" bool[q, p] marks passages that are no negative of a query: another positive of it, or the same text again.
        """
        (batch,) = batches
        passages = [text for group in batch.passages for text in group]
        same = torch.zeros(len(batch.queries), len(passages), dtype=torch.bool)
        group = len(batch.passages[0])
        for row, positives in enumerate(batch.positives):
            for column, text in enumerate(passages):
                if text in positives and column != row * group:
                    same[row, column] = True
        return {
            "queries": side(self._queries.tokenize(batch.queries, self._prefixes[0]), self._queries),
            "passages": side(self._passages.tokenize(passages, self._prefixes[1]), self._passages),
            "teacher": None if batch.teacher is None else torch.tensor(batch.teacher),
            "same": same,
            "in_batch": batch.in_batch,
        }


def side(tokens: TokenizedTexts, tokenizer: TextTokenizer) -> Side:
    """Texts as padded tensors."""
    lengths = tokens.lengths
    places = np.arange(lengths.max())[None, :]
    mask = places < lengths[:, None]
    ids = np.full(mask.shape, tokenizer.pad_id, np.int64)
    ids[mask] = np.concatenate(tokens.ids)
    kept = mask & (places >= tokens.skip[:, None])
    words = kept & ~np.isin(ids, tokenizer.wordless)
    return {
        name: torch.from_numpy(value)
        for name, value in (("ids", ids), ("mask", mask), ("kept", kept), ("words", words))
    }


def pieces(texts: Mapping[str, torch.Tensor], size: int | None) -> list[Side]:
    """A side in pieces of some texts each, every piece as long as its own longest."""
    count = len(texts["ids"])
    if size is None or size >= count:
        return [dict(texts)]
    found = []
    for start in range(0, count, size):
        longest = int(texts["mask"][start : start + size].sum(dim=1).max())
        found.append({name: value[start : start + size, :longest] for name, value in texts.items()})
    return found
