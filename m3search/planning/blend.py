"""Blend: the weighted mean of the legs' scores, and of their bounds.

Imports records. Invariant: legs are added up in the order of `LEGS`, so a score does not depend on how a plan was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from m3search.records import LEGS, Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNIT_ROUNDOFF = 2.0**-53


def blend(parts: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """sum(weight * part) / sum(weights), f64[n], over the legs of `weights`."""
    ordered = [leg for leg in LEGS if leg in weights]
    total = sum(weights[leg] for leg in ordered)
    scores = np.zeros(len(parts[ordered[0]]))
    for leg in ordered:
        scores += weights[leg] * parts[leg]
    return scores / total


def blend_bound(proposals: Mapping[str, Candidates], weights: Mapping[str, float]) -> tuple[float, float]:
    """What a passage that no leg returned can score at most, and the slack of that figure.

    -inf when one leg has returned all there are: a passage that is not among them does not exist.
    """
    bounds = {leg: np.array([proposals[leg].bound]) for leg in weights}
    if any(np.isneginf(bound[0]) for bound in bounds.values()):
        return -np.inf, 0.0
    total = sum(weights.values())
    slack = sum(weights[leg] * proposals[leg].slack for leg in weights) / total
    magnitude = sum(weights[leg] * abs(float(bounds[leg][0])) for leg in weights) / total
    # each product and sum of the blend itself may round once
    return float(blend(bounds, weights)[0]), slack + 4 * (len(weights) + 1) * _UNIT_ROUNDOFF * magnitude
