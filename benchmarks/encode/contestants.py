"""Contestants: what encodes, each loaded in a process of its own.

Invariant: every contestant encodes the same texts of the same checkpoint, and gives the dense vectors to be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

FLAG, ONNX = "FlagEmbedding", "ONNX Runtime int8"
OURS = {"m3search fp32": "fp32", "m3search bf16": "bf16", "m3search int8": "int8"}
PADDED_TOKENS = 16_384


class Contestant(Protocol):
    """An encoder under test."""

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Dense vectors f32[n, dim], all the contestant's other defaults left alone."""
        ...

    def query(self, text: str) -> np.ndarray:
        """The dense vector of one query."""
        ...

    def everything(self, texts: Sequence[str]) -> int:
        """All three outputs of many texts; how many there were."""
        ...


class Ours:
    """m3search."""

    def __init__(self, folder: Path, dtype: str) -> None:
        from m3search import Encoder

        self._encoder = Encoder.load("mini" if folder.name == "mini" else folder, device="cpu", dtype=dtype, threads=1)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Dense vectors; lexical weights are made too, as is the default."""
        found = self._encoder.encode(texts).dense
        assert found is not None
        return found

    def query(self, text: str) -> np.ndarray:
        """Dense and lexical."""
        found = self._encoder.encode([text], query=True).dense
        assert found is not None
        return found[0]

    def everything(self, texts: Sequence[str]) -> int:
        """As a build takes them: a stream, token vectors in the storage codec."""
        return sum(len(part) for part in self._encoder.encode_iter(texts, colbert_codec="int8"))


class Flag:
    """FlagEmbedding with its defaults, which on a CPU mean fp32 and dense vectors only."""

    def __init__(self, folder: Path) -> None:
        from FlagEmbedding import BGEM3FlagModel

        pooling = "mean" if folder.name == "mini" else "cls"
        self._model = BGEM3FlagModel(str(folder), devices="cpu", pooling_method=pooling)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Dense vectors."""
        return np.asarray(self._model.encode_corpus(list(texts))["dense_vecs"], np.float32)

    def query(self, text: str) -> np.ndarray:
        """Dense."""
        return np.asarray(self._model.encode_queries([text])["dense_vecs"], np.float32)[0]

    def everything(self, texts: Sequence[str]) -> int:
        """All outputs of all texts at once: there is no other way."""
        out = self._model.encode_corpus(list(texts), return_dense=True, return_sparse=True, return_colbert_vecs=True)
        return len(out["colbert_vecs"])


class Onnx:
    """ONNX Runtime over the quantized graph: sorted texts, batches of 16,384 tokens with padding, as bge-m3-lite has it."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        from encode.onnx_model import export

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(export(folder)), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Dense vectors."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        lengths = np.array([len(row) for row in ids])
        order = np.argsort(-lengths, kind="stable")
        found: list[np.ndarray] = []
        while len(found) < len(order):
            width = lengths[order[len(found)]]
            batch = order[len(found) : len(found) + max(1, PADDED_TOKENS // width)]
            padded = np.ones((len(batch), width), np.int64)
            for place, row in enumerate(batch):
                padded[place, : lengths[row]] = ids[row]
            mask = (np.arange(width) < lengths[batch][:, None]).astype(np.int64)
            states = self._session.run(None, {"input_ids": padded, "attention_mask": mask})[0]
            found.extend(states[:, 0])
        vectors = np.empty((len(order), found[0].shape[0]), np.float32)
        vectors[order] = np.array(found, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def query(self, text: str) -> np.ndarray:
        """Dense."""
        return self.passages([text])[0]

    def everything(self, texts: Sequence[str]) -> int:
        """Not measured."""
        raise NotImplementedError


def load(name: str, folder: Path) -> Contestant:
    """A contestant by name."""
    makers: dict[str, Callable[[Path], Any]] = {FLAG: Flag, ONNX: Onnx}
    return Ours(folder, OURS[name]) if name in OURS else makers[name](folder)
