"""The blend is a weighted mean to the last bit, and its bound holds for every passage that no leg returned."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3search.planning.blend import blend, blend_bound
from m3search.records import LEGS, Candidates

SCORES = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 0.5, -1.0, 1e-300, 1e6, -1e6]))
WEIGHTS = st.one_of(st.floats(1e-3, 1e3), st.sampled_from([1.0, 0.3, 5e-324, 1e-310, 1e308, 1.7e308]))


@st.composite
def scored(draw):
    """Leg -> weight, and leg -> f64[n] scores."""
    legs = draw(st.lists(st.sampled_from(LEGS), min_size=1, max_size=4, unique=True))
    count = draw(st.integers(1, 12))
    parts = {leg: np.array(draw(st.lists(SCORES, min_size=count, max_size=count))) for leg in legs}
    return {leg: draw(WEIGHTS) for leg in legs}, parts


def exactly(parts, weights, row):
    """The mean in rational numbers."""
    total = sum(map(Fraction, weights.values()))
    return sum(Fraction(weights[leg]) * Fraction(float(parts[leg][row])) for leg in weights) / total


@settings(deadline=None)
@given(scored())
def test_it_is_the_weighted_mean(made):
    weights, parts = made
    scores = blend(parts, weights)
    assert scores.dtype == np.float64
    for row, score in enumerate(scores):
        size = max(abs(float(parts[leg][row])) for leg in weights)
        assert abs(Fraction(float(score)) - exactly(parts, weights, row)) <= 1e-15 * size + 1e-320


@settings(deadline=None)
@given(scored(), st.randoms(use_true_random=False))
def test_neither_the_order_of_legs_nor_the_company_changes_a_bit(made, random):
    weights, parts = made
    scores = blend(parts, weights)
    names = list(weights)
    random.shuffle(names)
    again = blend({leg: parts[leg] for leg in reversed(names)}, {leg: weights[leg] for leg in names})
    assert again.tobytes() == scores.tobytes()
    for row in range(len(scores)):
        alone = blend({leg: values[row : row + 1] for leg, values in parts.items()}, weights)
        assert alone.tobytes() == scores[row : row + 1].tobytes()


@settings(deadline=None)
@given(scored(), st.sampled_from([2.0**-40, 0.5, 2.0, 2.0**40]))
def test_only_the_ratio_of_weights_counts(made, factor):
    weights, parts = made
    if all(1e-200 < weight < 1e200 for weight in weights.values()):
        scaled = {leg: weight * factor for leg, weight in weights.items()}
        assert blend(parts, scaled).tobytes() == blend(parts, weights).tobytes()


def test_one_leg_alone_is_its_scores():
    values = np.array([0.1, -0.7, 1 / 3])
    for weight in (1.0, 0.3, 7.0, 1e-320, 1e308):
        assert blend({"bm25": values}, {"bm25": weight}) == pytest.approx(values, rel=1e-15, abs=0)
    assert blend({"bm25": values}, {"bm25": 1.0}).tolist() == values.tolist()


@settings(deadline=None)
@given(scored(), st.integers(1, 13), st.data())
def test_the_bound_is_never_below_what_no_leg_returned(made, depth, data):
    weights, parts = made
    count = len(next(iter(parts.values())))
    docids = np.arange(count)
    proposals = {}
    for leg in weights:
        slack = data.draw(st.sampled_from([0.0, 0.0, 1e-6, 0.1]))
        off = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count))) * slack * (1 - 1e-9)
        proposals[leg] = Candidates.top(docids, parts[leg] + off, depth, floor=-np.inf, slack=slack)
    bound, slack = blend_bound(proposals, weights)
    seen = set().union(*(found.docids.tolist() for found in proposals.values()))
    scores = blend(parts, weights)
    unseen = [float(scores[docid]) for docid in docids if docid not in seen]
    assert all(score <= bound + slack for score in unseen)
    assert (bound == -np.inf) == (depth >= count)
    assert not np.isnan(bound)


def test_the_bound_is_as_tight_as_the_legs_allow():
    proposals = {
        "dense": Candidates(np.arange(1), np.array([0.9]), bound=-0.5, slack=1e-6),
        "lexical": Candidates(np.arange(1), np.array([0.4]), bound=0.25),
    }
    bound, slack = blend_bound(proposals, {"dense": 1.0, "lexical": 3.0})
    assert bound == (-0.5 + 3 * 0.25) / 4
    assert slack == pytest.approx(0.25e-6, rel=1e-6)
    # a leg that returned everything leaves nothing, whatever the others say
    proposals["dense"] = Candidates(np.arange(1), np.array([0.9]), bound=-np.inf)
    assert blend_bound(proposals, {"dense": 1.0, "lexical": 3.0}) == (-np.inf, 0.0)
    assert blend_bound(proposals, {"lexical": 3.0})[0] == 0.25
