"""Evaluating: how good a model in training is on a BEIR folder.

Imports index, evaluation and encoder. Invariant: it measures what a user of the saved model would get: the model is saved,
loaded, and asked through an index of its own, which goes afterwards.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3search.encoder.checkpoint import Checkpoint
    from m3search.training.model import TrainedModel

MEASURE = "nDCG@10"
BLENDS = {
    "dense": "dense=1",
    "lexical": "lexical=1",
    "dense + lexical": "dense=1,lexical=0.3",
    "dense + lexical + colbert": "dense=1,lexical=0.3,colbert=1",
}


def evaluate_model(
    model: TrainedModel, checkpoint: Checkpoint, dataset: Path, *, split: str = "dev", device: str = "auto"
) -> dict[str, float]:
    """nDCG@10 of the model's legs and of the paper's blends.

    Args:
        model: the model as it is now.
        checkpoint: what it began as.
        dataset: a BEIR folder.
        split: which judgements.
        device: where it encodes.

    Returns:
        Blend -> nDCG@10.

    Raises:
        SourceError: the folder cannot be read.
        MissingExtraError: ir-measures is not installed.
    """
    from m3search.encoder import Encoder
    from m3search.evaluation import load_beir
    from m3search.index import Index
    from m3search.indexing.sources import open_source
    from m3search.training.saving import save_checkpoint

    data = load_beir(dataset, split)
    with tempfile.TemporaryDirectory(prefix="m3search-") as scratch:
        save_checkpoint(model, checkpoint, Path(scratch) / "model")
        encoder = Encoder.load(Path(scratch) / "model", device=device)
        path = Path(scratch) / "index"
        with Index.build(
            open_source(dataset), path, encoder=encoder, colbert="int8", bm25=False, progress=False
        ) as index:
            return {
                name: index.evaluate(data, measures=(MEASURE,), weights=weights).values[MEASURE]
                for name, weights in BLENDS.items()
            }
