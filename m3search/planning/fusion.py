"""Fusion: how the legs' scores become one, where a user does not want the raw blend.

Imports errors only. The raw blend is the only fusion whose score of a document does not depend on the other candidates, so it
alone can be certified. The others fuse lists: they are here for comparison, and to reproduce what others have published.
Invariant: each is a function of the candidates' scores in every leg and of where a leg has none, and gives every leg a value
that the weighted mean then adds up; so a hit's values explain its score whatever the fusion.

Sources: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion (SIGIR 2009); Lee, Analyses of Multiple Evidence Combination
(SIGIR 1997) for min-max; Montague and Aslam, Relevance Score Normalization (CIKM 2001) for the z-score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m3search.errors import QueryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RRF_K = 60  # as in the paper


@dataclass(frozen=True, slots=True)
class Fusion:
    """A way of making one score of several.

    Attributes:
        kind: "raw", the weighted mean of the scores themselves; "rrf", of 1 / (60 + rank); "minmax", of scores scaled to
            0 to 1; "zscore", of scores less their mean, divided by their standard deviation; all over the candidates.
        missing: of a document that one leg proposed and another did not: "complete" computes the other's score, "zero" gives
            it nothing, as systems do that fuse truncated lists.

    Raises:
        QueryError: a kind or a word for `missing` that is not known.
    """

    kind: str = "raw"
    missing: str = "complete"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise QueryError(f"fusion is {self.kind!r}: give one of {', '.join(KINDS)}")
        if self.missing not in ("complete", "zero"):
            raise QueryError(f"missing is {self.missing!r}: give 'complete', or 'zero' for what no leg's list holds")

    @property
    def certified(self) -> bool:
        """Whether a bound of what was not seen can be proven."""
        return self.kind == "raw" and self.missing == "complete"

    def values(self, scores: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What a leg's scores f64[n] count, f64[n]; where bool[n] says that it has none they count nothing.

        For the z-score nothing is the least that the leg gave: less than the mean, which 0 would stand for.
        """
        made = np.zeros(len(scores))
        if there.any():
            made[there] = _VALUES[self.kind](scores[there])
            if self.kind == "zscore":
                made[~there] = made[there].min()
        return made

    def __str__(self) -> str:
        return _NAMES[self.kind] + ("" if self.missing == "complete" else ", missing scores are 0")


def _raw(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores


def _rrf(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal scores share the best of their ranks, so that no order of candidates matters."""
    ranks = np.searchsorted(np.sort(-scores), -scores) + 1
    return 1 / (_RRF_K + ranks)


def _minmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    least, most = scores.min(), scores.max()
    return (scores - least) / (most - least) if most > least else np.ones(len(scores))


def _zscore(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if scores.max() == scores.min():  # whose deviation may round to more than 0
        return np.zeros(len(scores))
    scaled: NDArray[np.float64] = (scores - scores.mean()) / scores.std()
    return scaled


_VALUES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "raw": _raw,
    "rrf": _rrf,
    "minmax": _minmax,
    "zscore": _zscore,
}
_NAMES = {
    "raw": "weighted mean of raw scores",
    "rrf": "reciprocal ranks",
    "minmax": "scores scaled to 0..1",
    "zscore": "standardised scores",
}
KINDS = tuple(_VALUES)

RAW = Fusion()
