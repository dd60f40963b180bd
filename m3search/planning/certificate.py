"""Certificate: whether what was not seen can still enter the answer.

Imports nothing. Invariant: "exact" is said only where no unseen passage can score as much as the k-th document. Where the
bound comes from an approximate index, nothing is proven of what no leg proposed: that is "exact over candidates", and so is a
fusion of lists. What was left out of a rerank set by an estimate may have belonged to the answer: that is "exact over the
rerank set's shortlist". Scores are exact and in order, but the search was stopped before it could prove more: "budget reached".
"""

from __future__ import annotations

from enum import StrEnum

_PATIENCE = 3
"""Doublings that try to tell a tie from two scores within the slack of float32, before it is called a tie."""


class Guarantee(StrEnum):
    """What is proven of an answer."""

    EXACT = "exact"
    TIES = "exact up to ties at rank k"
    CANDIDATES = "exact over candidates"
    RERANK = "exact over the rerank set"
    SHORTLIST = "exact over the rerank set's shortlist"
    BUDGET = "budget reached"


def certify(kth: float | None, bound: float, slack: float, *, nothing_left: bool, rounds: int) -> Guarantee | None:
    """What holds now; None: look deeper.

    Args:
        kth: score of the k-th document; None while there are fewer.
        bound: what an unseen passage can score at most, up to `slack`.
        slack: how far `bound` may be off.
        nothing_left: no unseen passage is there, or none that matches.
        rounds: how often the legs were asked before this time.
    """
    if nothing_left:
        return Guarantee.EXACT
    if kth is None:
        return None
    if kth > bound + slack:
        return Guarantee.EXACT
    if kth >= bound - slack and (kth == bound or rounds >= _PATIENCE):
        return Guarantee.TIES
    return None
