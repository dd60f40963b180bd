"""Losses: how far the scores of a batch are from what they should be.

Imports its neighbours, errors and torch. Invariant: with the defaults and without equal passages the value is that of
FlagEmbedding's unified fine-tuning.

Each term is InfoNCE over all passages of the batch; the ensemble is the blend of the three (BGE-M3 paper, section 3.2).
Self-distillation pulls each of the three towards the ensemble, a teacher's scores pull all of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy, log_softmax, softmax

from m3search.errors import InputError
from m3search.training.lexical_scores import lexical_scores
from m3search.training.model import Outputs, check_heads, lexical_tokens, token_vectors
from m3search.training.multi_vector_scores import multi_vector_scores

PARTS = ("dense", "lexical", "colbert")
TEACHER_LOSSES = ("kl", "m3")

_NEVER = -1e9
"""Score of a passage that takes no part: finite, so that 0 times it is 0."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What is trained for; a weight of 0 switches a term off.

    Attributes:
        dense: weight of the dense term.
        lexical: of the lexical term; the paper has 0.1, so that a new head does not drown the others.
        colbert: of the multi-vector term.
        ensemble: of the term of the blended score; it needs all three scores.
        blend: what dense, lexical and multi-vector scores weigh in the ensemble.
        temperature: scores are divided by it.
        distil: whether each term is pulled towards the ensemble (self-distillation).
        distil_from: the step that it begins with.
        teacher: "kl" (the distribution over a query's own passages, beside InfoNCE) or "m3" (InfoNCE for every passage
            of the group, weighed by the teacher), where examples have scores and `fit` is told to use them.
    """

    dense: float = 1.0
    lexical: float = 0.1
    colbert: float = 1.0
    ensemble: float = 1.0
    blend: tuple[float, float, float] = (1.0, 0.3, 1.0)
    temperature: float = 0.02
    distil: bool = True
    distil_from: int = 0
    teacher: str = "kl"

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in (*PARTS, "ensemble")}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"the loss {name!r} weighs {weight}: give a finite number from 0")
        if not any(weights.values()):
            raise InputError("all losses weigh 0, so there is nothing to learn: give one a weight")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"the temperature is {self.temperature}: give a number above 0, such as 0.02")
        if self.teacher not in TEACHER_LOSSES:
            raise InputError(f"there is no teacher's loss {self.teacher!r}: {' or '.join(TEACHER_LOSSES)}")

    @property
    def outputs(self) -> frozenset[str]:
        """The outputs that must be there."""
        if self.ensemble or self.distil:
            return frozenset(name for name, share in zip(PARTS, self.blend, strict=True) if share) | self._terms
        return self._terms

    @property
    def _terms(self) -> frozenset[str]:
        return frozenset(name for name in PARTS if getattr(self, name))

    def __call__(self, inputs: Mapping[str, Any], queries: Outputs, passages: Outputs, step: int = 0) -> Terms:
        """The loss of a batch.

        Args:
            inputs: what `batches.Collator` made.
            queries: outputs of the queries.
            passages: outputs of the passages.
            step: how many steps were taken.
        """
        scores = {name: score / self.temperature for name, score in self._scores(inputs, queries, passages).items()}
        blended = None
        if self.ensemble or self.distil:
            shares = zip(PARTS, self.blend, strict=True)
            blended = torch.stack([share * scores[name] for name, share in shares if share]).sum(dim=0)
        terms = {name: self._term(scores[name], inputs) for name in PARTS if getattr(self, name)}
        if self.ensemble and blended is not None:
            terms["ensemble"] = self._term(blended, inputs)
        total = sum((getattr(self, name) * term for name, term in terms.items()), torch.zeros(())) / len(terms)
        parts = self._terms
        if self.distil and blended is not None and step >= self.distil_from and parts:
            same = inputs["same"]
            target = softmax(_masked(blended.detach(), same), dim=-1)
            pulls = {name: _soft(_masked(scores[name], same), target) for name in PARTS if name in parts}
            pull = sum((getattr(self, name) * one for name, one in pulls.items()), torch.zeros(())) / len(pulls)
            terms["distil"] = pull
            total = (total + pull) / 2
        return Terms(total, {name: term.detach() for name, term in terms.items()})

    def _scores(self, inputs: Mapping[str, Any], queries: Outputs, passages: Outputs) -> dict[str, torch.Tensor]:
        """f32[q, p] of every output that is there."""
        sides = (inputs["queries"], queries), (inputs["passages"], passages)
        scores = {}
        for name in self.outputs:
            if name == "dense":
                scores[name] = queries["dense"] @ passages["dense"].T
            elif name == "lexical":
                scores[name] = lexical_scores(*(lexical_tokens(*one) for one in sides))
            else:
                scores[name] = multi_vector_scores(*(token_vectors(*one) for one in sides))
            if not inputs["in_batch"]:
                scores[name] = _own(scores[name])
        return scores

    def _term(self, scores: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
        """InfoNCE, and the teacher's pull where there is one."""
        in_batch, teacher, same = inputs["in_batch"], inputs["teacher"], inputs["same"]
        first = torch.arange(len(scores), device=scores.device)
        group = inputs["same"].shape[1] // len(scores)
        first = first * group if in_batch else torch.zeros_like(first)
        if teacher is None:
            return cross_entropy(_masked(scores, same), first)
        target = softmax(teacher, dim=-1)
        if self.teacher == "kl":
            own = _own(scores) if in_batch else scores
            return _soft(own, target) + cross_entropy(_masked(scores, same), first)
        total = scores.new_zeros(())
        for place in range(group):
            # those of the group that came before take no part
            hidden = torch.zeros_like(scores, dtype=torch.bool)
            hidden.scatter_(1, first[:, None] + torch.arange(place, device=scores.device), value=True)
            one = cross_entropy(scores.masked_fill(hidden, _NEVER), first + place, reduction="none")
            total = total + (target[:, place] * one).mean()
        return total


def losses_of(
    terms: str | None,
    *,
    heads_only: Collection[str] | None = None,
    distil: bool = True,
    teacher: str = "kl",
    temperature: float = 0.02,
) -> Losses:
    """Losses by what a user writes.

    Args:
        terms: "dense=1,lexical=0.1"; those left out weigh 0. None: the paper's, or where a single head learns its own.
        heads_only: the heads that learn; None: everything.
        distil: as in `Losses`; it has no part where a single score is trained.
        teacher: as in `Losses`.
        temperature: as in `Losses`.

    Raises:
        InputError: no such term or head, or a weight that is none.
    """
    check_heads(heads_only or ())
    if terms is None:
        weights = dict(_ALONE) if heads_only is not None and len(set(heads_only)) == 1 else {}
        weights.update(dict.fromkeys(heads_only or (), 1.0) if weights else {})
    else:
        weights = dict(_ALONE) | _weights(terms)
    several = not weights or bool(weights["ensemble"]) or sum(weight > 0 for weight in weights.values()) > 1
    return Losses(**weights, distil=distil and several, teacher=teacher, temperature=temperature)  # type: ignore[arg-type]


_ALONE = dict.fromkeys((*PARTS, "ensemble"), 0.0)


def _weights(terms: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in terms.split(","):
        name, _, value = part.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if name.strip() not in _ALONE or math.isnan(weight):
            raise InputError(f"{part.strip()!r} is no weight of a loss: write {'=1,'.join(_ALONE)}=1, or some of them")
        found[name.strip()] = weight
    return found


@dataclass(frozen=True, slots=True)
class Terms:
    """A loss and what it is made of.

    Attributes:
        total: with its graph.
        parts: name -> value without weight or graph.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


def _masked(scores: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    if same.shape != scores.shape:  # a query's own passages only
        same = _own(same)
    return scores.masked_fill(same, _NEVER)


def _own(scores: torch.Tensor) -> torch.Tensor:
    """[q, q * group] to the group of each query [q, group]."""
    queries = len(scores)
    grouped = scores.view(queries, queries, -1)
    rows = torch.arange(queries, device=scores.device)
    return grouped[rows, rows]


def _soft(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy with a distribution: the gradient of the KL divergence."""
    return -(target * log_softmax(scores, dim=-1)).sum(dim=-1).mean()
