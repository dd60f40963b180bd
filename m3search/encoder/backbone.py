"""Backbone: the transformer that turns token ids into token states.

Owns loading it and the device it runs on. Imports errors and its neighbours; torch and transformers when loaded.
Invariant: every parameter comes from the checkpoint's files, none from chance, and nothing outside is left changed.
"""

from __future__ import annotations

import importlib
import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CheckpointError, EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from m3search.encoder.checkpoint import Checkpoint

DTYPES = {
    "fp32": "float32",
    "float32": "float32",
    "fp16": "float16",
    "float16": "float16",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
}
_CLASSES = {"bert": "BertModel", "xlm-roberta": "XLMRobertaModel"}
"""Classes by model_type, named directly: the Auto classes import more and may be told to run remote code."""


class Backbone:
    """A BERT or XLM-R encoder without its pooler.

    Attributes:
        device: where it runs.
        hidden: width of a token state.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto") -> None:
        """Loads the weights of a checkpoint.

        Args:
            checkpoint: the model's files.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" (fp16 on CUDA, else fp32), "fp32", "fp16", "bf16".

        Raises:
            EncoderError: no such device or type.
            CheckpointError: the weights are damaged or not all there.
        """
        self.device = _device(device)
        torch_type = _dtype(dtype, self.device)
        self._model = _load(checkpoint).to(device=self.device, dtype=torch_type).eval()
        self.hidden = int(checkpoint.config["hidden_size"])
        self._pad_id = pad_id(checkpoint)

    def states(self, rows: Sequence[NDArray[np.int32]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token states of one batch.

        Args:
            rows: b arrays of token ids; short rows are filled up at the end.

        Returns:
            States [b, longest, hidden] in the model's own type, and bool[b, longest], true where a token stands.
        """
        import torch

        lengths = np.array([len(row) for row in rows], np.int64)
        real = np.arange(lengths.max())[None, :] < lengths[:, None]
        ids = np.full(real.shape, self._pad_id, np.int64)
        ids[real] = np.concatenate(rows)
        mask = torch.from_numpy(real).to(self.device)
        # positions are left to the model: XLM-R counts them past padding ids, those written out in a text included
        output = self._model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=mask.long())
        return output.last_hidden_state, mask


def pad_id(checkpoint: Checkpoint) -> int:
    """The padding id of a checkpoint's backbone."""
    value = checkpoint.config.get("pad_token_id")
    if value is None:
        value = 1 if checkpoint.config["model_type"] == "xlm-roberta" else 0
    return int(value)


def _load(checkpoint: Checkpoint) -> Any:  # noqa: ANN401 - transformers is untyped here
    from safetensors import SafetensorError

    backbone: Any = getattr(importlib.import_module("transformers"), _CLASSES[checkpoint.config["model_type"]])
    where = checkpoint.weights[0]
    try:
        with _quiet_transformers():
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


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(
            f"there is no device {name!r} on this machine ({str(error).splitlines()[0]}): "
            'use device="auto", "cpu", "cuda" or "mps"'
        ) from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    import torch

    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise EncoderError(f'dtype is {name!r}: use "auto", "fp32", "fp16" or "bf16"')
    dtype: torch.dtype = getattr(torch, DTYPES[name])
    return dtype


@contextmanager
def _quiet_transformers() -> Iterator[None]:
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
