"""Blend: the weighted mean of the legs' scores, and of their bounds.

Imports records. Invariant: legs are added up in the order of `LEGS`, so a score does not depend on how a plan was written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from m3search.records import LEGS, Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNIT_ROUNDOFF = 2.0**-53
_SMALLEST_NORMAL = 2.0**-1022


def blend(parts: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """sum(weight * part) / sum(weights), f64[n], over the legs of `weights`."""
    scaled = scaled_weights(weights)
    scores = np.zeros(len(parts[next(iter(scaled))]))
    for leg, weight in scaled.items():
        scores += weight * parts[leg]
    return scores / sum(scaled.values())


def blend_bound(proposals: Mapping[str, Candidates], weights: Mapping[str, float]) -> tuple[float, float]:
    """What a passage that no leg returned can score at most, and the slack of that figure.

    -inf when one leg has returned all there are: a passage that is not among them does not exist.
    """
    bound = slack = magnitude = total = 0.0
    for leg, weight in scaled_weights(weights).items():
        found = proposals[leg]
        if found.bound == -math.inf:
            return -math.inf, 0.0
        bound += weight * found.bound
        slack += weight * found.slack
        magnitude += weight * abs(found.bound)
        total += weight
    bound, slack, magnitude = bound / total, slack / total, magnitude / total
    # each product and sum of the blend itself may round once, or underflow
    rounded = 4 * (len(weights) + 1) * (_UNIT_ROUNDOFF * magnitude + _SMALLEST_NORMAL)
    return float(bound), slack + rounded


def scaled_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights in the order of `LEGS`, times a power of two that brings the largest near 1.

    That changes no bit of a mean, but neither huge nor tiny weights leave the range of float64.
    """
    exponent = math.frexp(max(weights.values()))[1]
    return {leg: math.ldexp(weights[leg], -exponent) for leg in LEGS if leg in weights}
