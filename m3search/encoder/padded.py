"""PaddedBackbone: transformers' own modules over texts that are filled up to one length.

The slow way, which `Backbone` is held against. Imports errors and its neighbours; torch and transformers when loaded.
Invariant: every parameter comes from the checkpoint's files, none from chance, and nothing outside is left changed.
"""

from __future__ import annotations

import importlib
import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.encoder.backbone import pad_id
from m3search.encoder.device import find_device, find_dtype
from m3search.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from m3search.encoder.checkpoint import Checkpoint

_CLASSES = {"bert": "BertModel", "xlm-roberta": "XLMRobertaModel"}
"""Classes by model_type, named directly: the Auto classes import more and may be told to run remote code."""


class PaddedBackbone:
    """A BERT or XLM-R encoder without its pooler, as `Backbone` is one.

    Attributes:
        device: where it runs.
        hidden: width of a token state.
        padded: whether padding counts towards a batch.
    """

    padded = True

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto") -> None:
        """Loads the weights of a checkpoint.

        Args:
            checkpoint: the model's files.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            dtype: as for `find_dtype`, but for "int8".

        Raises:
            EncoderError: no such device or type.
            CheckpointError: the weights are damaged or not all there.
        """
        self.device = find_device(device)
        torch_type = find_dtype(dtype, self.device)
        self._model = load_modules(checkpoint).to(device=self.device, dtype=torch_type).eval()
        self.hidden = int(checkpoint.config["hidden_size"])
        self._pad_id = pad_id(checkpoint)

    def states(self, rows: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """Token states of one batch.

        Args:
            rows: b arrays of token ids; short rows are filled up at the end.

        Returns:
            [t, hidden], the tokens of all texts one after the other, in the model's own type.
        """
        import torch

        lengths = np.array([len(row) for row in rows], np.int64)
        real = np.arange(lengths.max())[None, :] < lengths[:, None]
        ids = np.full(real.shape, self._pad_id, np.int64)
        ids[real] = np.concatenate(rows)
        mask = torch.from_numpy(real).to(self.device)
        # positions are left to the model: XLM-R counts them past padding ids, those written out in a text included
        output = self._model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=mask.long())
        states: torch.Tensor = output.last_hidden_state
        return states[mask]


def load_modules(checkpoint: Checkpoint) -> Any:  # noqa: ANN401 - transformers is untyped here
    """The modules of a checkpoint on the CPU, in the files' type, without a pooler.

    Raises:
        CheckpointError: as for `PaddedBackbone`.
    """
    from safetensors import SafetensorError

    backbone: Any = getattr(importlib.import_module("transformers"), _CLASSES[checkpoint.config["model_type"]])
    where = checkpoint.weights[0]
    try:
        with quiet_transformers():
            model, report = backbone.from_pretrained(
                checkpoint.folder,
                add_pooling_layer=False,
                local_files_only=True,
                use_safetensors=where.suffix == ".safetensors",
                weights_only=True,
                output_loading_info=True,
            )
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{where} cannot be loaded as a {checkpoint.config['model_type']} backbone ({reason}): download the "
            "model again"
        ) from error
    absent = sorted(str(name) for name in report["missing_keys"])
    if absent:
        raise CheckpointError(
            f"{where} lacks {len(absent)} of the backbone's parameters, the first is {absent[0]}: they would be "
            "random. Download the model again"
        )
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no warnings from transformers in here; its settings come back afterwards."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
