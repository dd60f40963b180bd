"""Weights: how much each leg counts in the blend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Self

from m3search.errors import WeightsError

LEGS = ("dense", "lexical", "bm25", "colbert")
"""The names of the legs, in the order in which a blend adds them up."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Non-negative weights of the legs; a leg that weighs 0 is not used.

    The blend is sum(weight * score) / sum(weights) over the legs that weigh more than 0.

    Raises:
        WeightsError: a weight is negative, not finite or not a number, or all are 0.
    """

    dense: float = 0.0
    lexical: float = 0.0
    bm25: float = 0.0
    colbert: float = 0.0

    def __post_init__(self) -> None:
        for name in LEGS:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if not self.positive():
            raise WeightsError("all weights are 0: at least one leg must weigh more, for example dense=1")

    @classmethod
    def of(cls, value: Weights | Mapping[str, float] | str) -> Self:
        """Weights from weights, a mapping such as ``{"dense": 1}``, a string such as ``"dense=1,lexical=0.3"``, or a preset.

        Raises:
            WeightsError: an unknown leg, or a value that is no number.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = PRESETS[value].to_dict() if value in PRESETS else _parse(value)
        elif isinstance(value, Weights):
            value = value.to_dict()
        elif not isinstance(value, Mapping):
            raise WeightsError(
                f"weights are a {type(value).__name__}: give Weights, a mapping or 'dense=1,lexical=0.3'"
            )
        unknown = [name for name in value if name not in LEGS]
        if unknown:
            raise WeightsError(f"there is no leg named {unknown[0]!r}: the legs are {', '.join(LEGS)}")
        return cls(**value)

    def positive(self) -> dict[str, float]:
        """The legs that weigh more than 0, in the order of `LEGS`."""
        return {name: weight for name in LEGS if (weight := getattr(self, name)) > 0}

    def to_dict(self) -> dict[str, float]:
        """All four as a mapping, for msgpack and JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        return ",".join(f"{name}={weight:g}" for name, weight in self.positive().items())


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):  # numpy's numbers are Real too
        raise WeightsError(f"weight of {name} is {value!r}: give a number >= 0")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise WeightsError(f"weight of {name} is {number}: give a finite number >= 0")
    return number


def _parse(text: str) -> dict[str, float]:
    """``"dense=1, lexical=0.3"`` as a mapping."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.partition("=")
        name = name.strip()
        if not equals:
            raise WeightsError(
                f"{part.strip()!r} in the weights is not NAME=NUMBER: write for example dense=1,lexical=0.3, "
                f"or one of {', '.join(PRESETS)}"
            )
        if name in weights:
            raise WeightsError(f"the weight of {name!r} is given twice")
        try:
            weights[name] = float(number)
        except ValueError:
            raise WeightsError(f"the weight of {name!r} is {number.strip()!r}, which is no number") from None
    return weights


PRESETS = {
    "m3": Weights(dense=1, lexical=0.3, colbert=1),
    "m3-long": Weights(dense=0.15, lexical=0.5, colbert=0.35),
    "m3-readme": Weights(dense=0.4, lexical=0.2, colbert=0.4),
}
"""Published blends by name; a search passes over the legs of these that an index does not have.

Sources: Chen et al., BGE M3-Embedding (2024), section 4.1 and, for long documents, section 4.3; the model's README.
"""

WeightsLike = Weights | Mapping[str, float] | str | None
"""Weights as users write them, a preset's name among them; None: whatever stands behind, such as those of the index."""
