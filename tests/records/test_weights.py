"""Weights: three ways of writing them, and what is said of those that make no blend."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3search import Weights
from m3search.errors import WeightsError
from m3search.records import LEGS

NUMBERS = st.floats(0, 1e300)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(LEGS), NUMBERS, min_size=1).filter(lambda value: any(value.values())))
def test_every_way_of_writing_them_means_the_same(value):
    weights = Weights(**value)
    assert Weights.of(value) == Weights.of(weights) == Weights.of(weights.to_dict()) == weights
    assert Weights.of(",".join(f" {leg} = {weight!r} " for leg, weight in value.items())) == weights
    assert weights.positive() == {leg: value[leg] for leg in LEGS if value.get(leg)}
    assert list(weights.to_dict()) == list(LEGS)


def test_text_reads_back():
    assert str(Weights(colbert=1, dense=1, lexical=0.3)) == "dense=1,lexical=0.3,colbert=1"
    assert Weights.of("dense=1,lexical=0.3,colbert=1") == Weights(dense=1, lexical=0.3, colbert=1)


@pytest.mark.parametrize("number", [1, np.float32(1), np.int64(1), np.float64(1), Fraction(1), 1.0])
def test_any_real_number_will_do(number):
    assert Weights.of({"dense": number}) == Weights(dense=1.0)
    assert type(Weights(dense=number).dense) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"dense": -1}, r"weight of dense is -1.0: give a finite number >= 0"),
        ({"dense": 1, "bm25": float("nan")}, "weight of bm25 is nan"),
        ({"lexical": float("inf")}, "weight of lexical is inf"),
        ({"lexical": 10**400}, "weight of lexical is inf"),
        ({"dense": "1"}, "weight of dense is '1': give a number"),
        ({"dense": True}, "weight of dense is True"),
        ({"dense": None}, "weight of dense is None"),
        ({"dense": 1j}, "weight of dense is 1j"),
        ({}, "all weights are 0: at least one leg must weigh more"),
        ({"dense": 0, "colbert": 0.0}, "all weights are 0"),
        ({"sparse": 1}, "no leg named 'sparse': the legs are dense, lexical, bm25, colbert"),
        ({"dense": 1, 7: 1, "x": 2}, "no leg named 7"),
        ("dense", "'dense' in the weights is not NAME=NUMBER: write for example"),
        ("dense=1,", "'' in the weights is not NAME=NUMBER"),
        ("", "NAME=NUMBER"),
        ("dense=1,dense=2", "the weight of 'dense' is given twice"),
        ("dense=much", "the weight of 'dense' is 'much', which is no number"),
        ("dense=nan", "weight of dense is nan"),
        ("dense=-1", "weight of dense is -1"),
        ("dense=0", "all weights are 0"),
        ("sparse=1", "no leg named 'sparse'"),
        ([1, 2], "weights are a list: give Weights, a mapping or"),
        (1.0, "weights are a float"),
        (None, "weights are a NoneType"),
    ],
)
def test_what_makes_no_blend_says_why(value, message):
    with pytest.raises(WeightsError, match=message):
        Weights.of(value)
    assert issubclass(WeightsError, ValueError)


def test_they_do_not_change():
    with pytest.raises(AttributeError):
        Weights(dense=1).dense = 2.0
