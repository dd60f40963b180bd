"""RowProduct: the order of its additions is one that can be written down."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from m3search.retrieval.products import scores_of
from m3search.retrieval.row_product import LANES, SUMS, row_product


def in_order(vector, row):
    """The same additions, one by one, in numpy's float64."""
    products = vector * row.astype(np.float64)
    sums = np.zeros((SUMS, LANES))
    whole = len(products) // (SUMS * LANES) * (SUMS * LANES)
    for start in range(0, whole, SUMS * LANES):
        sums += products[start : start + SUMS * LANES].reshape(SUMS, LANES)
    eights = whole + (len(products) - whole) // LANES * LANES
    for start in range(whole, eights, LANES):
        sums[0] += products[start : start + LANES]
    rest = 0.0
    for product in products[eights:]:
        rest += product
    lanes = (sums[0] + sums[1]) + (sums[2] + sums[3])
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7])) + rest


@pytest.mark.parametrize("dim", [1, 2, 7, 8, 9, 31, 32, 33, 40, 71, 128, 384, 387, 1024])
def test_additions_have_one_order(dim):
    rng = np.random.default_rng(dim)
    matrix = (rng.normal(size=(50, dim)) * 10.0 ** rng.integers(-8, 8, (50, dim))).astype(np.float32)
    vector = rng.normal(size=dim) * 10.0 ** rng.integers(-8, 8, dim)
    expected = [in_order(vector, row) for row in matrix]
    assert scores_of(vector, matrix, np.arange(50)).tolist() == expected
    assert [one(vector, matrix.reshape(-1), row * dim) for row in range(50)] == expected
    assert np.allclose(expected, matrix.astype(np.float64) @ vector, rtol=1e-9, atol=1e-6 * np.abs(expected).max())


def test_what_lies_beside_a_row_has_no_part_in_it():
    numbers = np.array([np.nan, 1, 2, 3, np.inf], np.float32)
    assert one(np.array([1.0, 10.0, 100.0]), numbers, 1) == 321


@njit
def one(vector, numbers, start):
    return row_product(vector, numbers, start)
