"""The certificate, case by case."""

from __future__ import annotations

import pytest

from m3search.planning.certificate import Guarantee, certify

EXACT, TIES, DEEPER = Guarantee.EXACT, Guarantee.TIES, None
INF = float("inf")


@pytest.mark.parametrize(
    ("kth", "bound", "slack", "nothing_left", "rounds", "says"),
    [
        # nothing unseen is left
        (0.5, -INF, 0.0, True, 0, EXACT),
        (None, -INF, 0.0, True, 0, EXACT),
        (None, 0.0, 0.0, True, 0, EXACT),
        (0.5, 0.9, 0.1, True, 0, EXACT),
        # fewer than k documents, and something is left
        (None, 0.5, 0.0, False, 0, DEEPER),
        (None, -5.0, 0.0, False, 50, DEEPER),
        # above the bound and its slack
        (0.5, 0.4, 0.0, False, 0, EXACT),
        (0.5, 0.4, 0.05, False, 0, EXACT),
        (-0.1, -0.2, 0.05, False, 0, EXACT),
        # above the bound, within its slack: a few rounds to tell, then a tie
        (0.5, 0.45, 0.1, False, 0, DEEPER),
        (0.5, 0.45, 0.1, False, 2, DEEPER),
        (0.5, 0.45, 0.1, False, 3, TIES),
        # equal: a tie at once, whatever the slack
        (0.5, 0.5, 0.0, False, 0, TIES),
        (0.5, 0.5, 0.1, False, 0, TIES),
        (0.0, 0.0, 0.0, False, 0, TIES),
        # below the bound, within its slack
        (0.5, 0.55, 0.1, False, 0, DEEPER),
        (0.5, 0.55, 0.1, False, 3, TIES),
        # below it: deeper, however often that was tried
        (0.5, 0.7, 0.1, False, 0, DEEPER),
        (0.5, 0.7, 0.1, False, 99, DEEPER),
        (-0.5, 0.0, 0.0, False, 99, DEEPER),
        (0.5, INF, 0.0, False, 99, DEEPER),
    ],
)
def test_what_it_says(kth, bound, slack, nothing_left, rounds, says):
    assert certify(kth, bound, slack, nothing_left=nothing_left, rounds=rounds) is says


def test_guarantees_are_the_words_that_users_see():
    assert [str(guarantee) for guarantee in Guarantee] == [
        "exact",
        "exact up to ties at rank k",
        "exact over candidates",
        "exact over the rerank set",
        "exact over the rerank set's shortlist",
        "budget reached",
    ]
