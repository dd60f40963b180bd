"""Trace: what a search did, round by round, and how long it took: small plain data that outlives the arrays.

Imports records. Invariant: every figure was measured or counted while the search ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from m3search.records import frozen


@frozen
class Asked:
    """One leg in one round.

    Attributes:
        returned: passages that it proposed.
        bound: what a passage that it left out can score at most.
        postings: postings or vectors that it touched.
        effort: nprobe or efSearch of an approximate index, else 0.
        seconds: that it took.
    """

    returned: int
    bound: float
    postings: int
    effort: int
    seconds: float


@frozen
class Round:
    """One time that the legs were asked.

    Attributes:
        documents: that had to be settled.
        depth: candidates that each was asked for.
        legs: what each gave.
        candidates: different passages among these.
        kept: of these, those that could be in the answer.
        completed: leg -> scores that were computed for candidates.
        bound: what an unseen passage can score at most.
        slack: how far rounding may put that bound off.
        kth_score: score of the last document that had to be settled; None with fewer.
        proven: the guarantee, or None: deeper.
        complete_seconds: for narrowing and completion.
        certify_seconds: for order and certificate.
    """

    documents: int
    depth: int
    legs: Mapping[str, Asked]
    candidates: int
    kept: int
    completed: Mapping[str, int]
    bound: float
    slack: float
    kth_score: float | None
    proven: str | None
    complete_seconds: float
    certify_seconds: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return sum(one.seconds for one in self.legs.values()) + self.complete_seconds + self.certify_seconds


@dataclass(slots=True)
class Trace:
    """A whole search.

    Attributes:
        rounds: in order.
        reranked: documents that were scored again.
        estimated: documents of the rerank set that were estimated first.
        encode_seconds: for the query's encodings.
        rerank_seconds: for these documents.
        order_seconds: for ids and the last order.
        browsed: documents that were put in order where nothing was asked.
        seconds: from the text to the ranking.
    """

    rounds: list[Round] = field(default_factory=list)
    reranked: int = 0
    estimated: int = 0
    browsed: int = 0
    encode_seconds: float = 0.0
    rerank_seconds: float = 0.0
    order_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def steps(self) -> dict[str, Any]:
        """Step -> seconds over all rounds; "search" has its legs in it; "overhead" is what no step accounts for."""
        search: dict[str, float] = {}
        for one in self.rounds:
            for leg, asked in one.legs.items():
                search[leg] = search.get(leg, 0.0) + asked.seconds
        steps: dict[str, Any] = {
            "encode": self.encode_seconds,
            "search": search,
            "complete": sum(one.complete_seconds for one in self.rounds),
            "certify": sum(one.certify_seconds for one in self.rounds),
            "rerank": self.rerank_seconds,
            "order": self.order_seconds,
        }
        known = sum(value for name, value in steps.items() if name != "search") + sum(search.values())
        return {**steps, "overhead": max(0.0, self.seconds - known)}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "steps": self.steps}
