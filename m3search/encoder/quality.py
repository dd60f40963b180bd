"""Quality: what computing in fewer bits does to the vectors, measured on the model that was loaded.

Imports its neighbours. Invariant: the measure is of this checkpoint, on this machine, never a promise made elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from m3search.encoder.model import Model
    from m3search.encoder.tokenizer import TokenizedTexts

PROBES = (
    "How do I open a zip file?",
    "BM25 ranks documents by the words of the query that they contain, and rare words count more than frequent ones.",
    "The library opens at nine and closes late in the evening; on Sundays it stays shut.",
    "Die Bibliothek öffnet um neun Uhr und schließt erst am späten Abend.",
    "Où se trouve la bibliothèque la plus proche, et à quelle heure ferme-t-elle ?",
    "Быстрая лиса прыгает через ленивую собаку.",
    "敏捷的棕色狐狸跳过了懒狗。",
    "x = np.linalg.norm(vectors, axis=1)  # one length a row",
)


@dataclass(frozen=True, slots=True)
class Similarity:
    """How near dense vectors come to those in fp32, as cosines over `PROBES`.

    Attributes:
        mean: over all texts.
        least: of the worst text.
    """

    mean: float
    least: float

    @classmethod
    def between(cls, exact: Model, near: Model, tokens: TokenizedTexts) -> Similarity:
        """The similarity of two models' dense vectors.

        Args:
            exact: the model in fp32.
            near: the same in fewer bits.
            tokens: what both encode.
        """
        vectors = []
        for model in (exact, near):
            dense = model.run(tokens.ids, tokens.skip, dense=True, lexical=False, colbert=False).dense
            assert dense is not None
            vectors.append(dense.astype(np.float64))
        cosines = (vectors[0] * vectors[1]).sum(axis=1)
        return cls(mean=float(cosines.mean()), least=float(cosines.min()))

    def __str__(self) -> str:
        return f"cosine to fp32 over {len(PROBES)} texts: mean {self.mean:.4f}, least {self.least:.4f}"
