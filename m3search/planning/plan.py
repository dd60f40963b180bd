"""Plan: a search, decided: a value that can be printed, compared, changed and handed to a search.

Imports records. Invariant: a plan says everything that decides about an answer but the query and the snapshot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from m3search.planning.fusion import RAW, Fusion
from m3search.records import Tree

LARGEST_K = 10**7

_FIRST_DEPTH = 100
_FIRST_DEPTH_OF_PROPOSALS = 60  # where to look twice costs little, and to complete what was not needed costs as much
_INVERTED = {"lexical", "bm25"}  # their order is that of the answer, and asking them for more costs more
_TIES = 4  # one more proves the answer, and some more find the end of most ties at rank k
_TIES_SHARE = 64


class Strategy(StrEnum):
    """How the first stage is settled."""

    BLEND = "certified blend"
    ALLOWED = "score of all that is allowed"
    LISTS = "fused lists"
    BROWSE = "all that is allowed, by id"


@dataclass(frozen=True, slots=True)
class Plan:
    """A search, decided; make one with `Index.plan`.

    Attributes:
        k: hits that are wanted.
        weights: leg -> weight > 0 of the final blend, in the blend's order.
        first: leg -> weight > 0 of the first stage, which proposes and is certified.
        depth: how many candidates each leg is asked for at first, of the first page; doubled until the certificate closes.
        rerank: documents that ColBERT scores; 0 where it has no part.
        attempt: documents that a leg is asked for before `depth`, where that often proves the answer already; 0: none.
        offset: best documents that are passed over.
        strategy: how the first stage is settled.
        fusion: how scores become one.
        max_ms: milliseconds after which the legs are not asked again; None: no limit.
        max_candidates: passages that the legs together may propose; None: no limit.
        collapse: a document is one hit, by its best passage; else every passage is one, and "documents" are passages.
    """

    k: int
    weights: Mapping[str, float]
    first: Mapping[str, float]
    depth: int
    rerank: int = 0
    attempt: int = 0
    offset: int = 0
    strategy: Strategy = Strategy.BLEND
    fusion: Fusion = RAW
    max_ms: float | None = None
    max_candidates: int | None = None
    collapse: bool = True

    @property
    def wanted(self) -> int:
        """How many documents the answer must have settled, those that are passed over included."""
        return self.offset + self.k

    @property
    def documents(self) -> int:
        """How many the first stage must settle: those that are wanted, or the rerank set.

        On later pages more: twice the first page's, or four times, and so on, so that pages share what they are cut from.
        """
        return max(self.wanted, self.borders[-1] * 2) if self.borders else max(self.wanted, self.rerank)

    @property
    def borders(self) -> tuple[int, ...]:
        """How many the first stage settles for earlier pages, each time that this was another number."""
        if not self.offset:
            return ()
        made = []
        settled = self.rerank_set if self.reranks else self.k
        while settled < self.wanted and self.strategy is Strategy.BLEND:
            made.append(settled)
            settled *= 2
        return tuple(made)

    @property
    def rerank_set(self) -> int:
        """How many documents are scored again; it does not grow with the offset, or pages would overlap."""
        return max(self.k, self.rerank)

    @property
    def reranks(self) -> bool:
        """Whether the best documents are scored again by more legs than proposed them."""
        return self.weights != self.first

    @property
    def depths(self) -> Mapping[str, int]:
        """Leg of the first stage -> candidates that it is asked for first; 0 where it is not asked."""
        asked = self.strategy in (Strategy.BLEND, Strategy.LISTS)
        return dict.fromkeys(self.first, (self.attempt or self.start) if asked else 0)

    @property
    def start(self) -> int:
        """What legs are asked for at first: on later pages more than `depth`."""
        later = self.offset and self.strategy is Strategy.BLEND
        return max(self.depth, depth_for(self.documents, exhaustive=False)) if later else self.depth

    def at(self, offset: int) -> Plan:
        """The same search, passing over `offset` documents; the rerank set stays as it is."""
        moved = dataclasses.replace(self, offset=offset)
        attempt = attempt_for(moved.first, moved.documents) if self.attempt else 0
        return dataclasses.replace(moved, attempt=attempt)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **{name: getattr(self, name) for name in ("k", "offset", "depth", "attempt", "rerank", "max_ms")},
            "max_candidates": self.max_candidates,
            "collapse": self.collapse,
            "strategy": str(self.strategy),
            "fusion": {"kind": self.fusion.kind, "missing": self.fusion.missing},
            "weights": dict(self.weights),
            "first": dict(self.first),
            "depths": dict(self.depths),
        }

    def __str__(self) -> str:
        return str(self.tree())

    @property
    def title(self) -> str:
        """What is wanted, and how it is settled."""
        what = "" if self.collapse else " passages"
        span = f"top {self.k:,}" if not self.offset else f"ranks {self.offset + 1:,} to {self.wanted:,}"
        return f"{span}{what}: {self.strategy}"

    def tree(self) -> Tree:
        """The plan in words, a line a step."""
        root = Tree(self.title)
        if self.strategy is Strategy.BROWSE:
            return root
        for leg, weight in self.first.items():
            asked = "scores every allowed passage"
            if self.depths[leg]:
                asked = f"proposes {self.depths[leg]:,}" + (f", then {self.start:,}" if self.attempt else "")
            root.add(f"{leg}, weight {weight:g}: {asked}")
        root.add(f"{self.fusion}" + ("" if self.fusion.missing == "zero" else ", every candidate completed"))
        if self.strategy is Strategy.BLEND:
            root.add("certificate: twice as deep until no unseen document can belong to the answer" + self._limits())
        if self.reranks:
            weights = ", ".join(f"{leg} {weight:g}" for leg, weight in self.weights.items())
            root.add(f"rerank of {self.rerank:,} documents by {weights}")
        return root

    def _limits(self) -> str:
        limits = [] if self.max_ms is None else [f"{self.max_ms:g} ms"]
        limits += [] if self.max_candidates is None else [f"{self.max_candidates:,} candidates"]
        return f", or {' or '.join(limits)} are spent" if limits else ""


def depth_for(documents: int, *, exhaustive: bool = True) -> int:
    """How deep legs look at first where so many documents must be settled.

    Args:
        documents: how many.
        exhaustive: whether a leg goes through everything each time that it is asked.
    """
    return max(_FIRST_DEPTH if exhaustive else _FIRST_DEPTH_OF_PROPOSALS, 2 * documents)


def attempt_for(first: Mapping[str, float], documents: int) -> int:
    """What an inverted leg is asked for before, where it is the only one."""
    return documents + _TIES + documents // _TIES_SHARE if len(first) == 1 and set(first) <= _INVERTED else 0
