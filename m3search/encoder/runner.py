"""Runner: tokenized texts through the model, in batches that fit into memory.

Owns the budget of a batch and what becomes of a lack of memory. Imports records, errors and its neighbours; torch when
it runs. Invariant: rows come back in the order of the texts, whatever the batches were, and only a lack of memory is
answered with a smaller batch: every other error reaches the caller.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m3search.encoder.batching import parts_of, token_batches
from m3search.encoder.lexical import TokenWeights, lexical_rows
from m3search.errors import EncoderError
from m3search.records import Encodings
from m3search.records.token_codes import TokenCodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from m3search.encoder.model import BatchOutput, Model
    from m3search.encoder.tokenizer import TokenizedTexts

_THREADS = threading.Lock()
"""Torch's number of threads belongs to the process: one call at a time may change it."""

_CPU_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of",
)
"""How torch says it where it has no class for it."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is asked for.

    Attributes:
        dense: f32[n, dim].
        lexical: CSR f32[n, vocab_size].
        colbert: token vectors.
        codec: how token vectors leave, a name in `records.token_codes.CODECS`; None: as f32[t, colbert_dim].
    """

    dense: bool = True
    lexical: bool = True
    colbert: bool = False
    codec: str | None = None


class Runner:
    """A model with its budget; safe to use from several threads.

    Attributes:
        limit: tokens of a batch beyond which memory was found not to suffice; None while it did.
        threads: CPU threads of a batch; None leaves torch's setting alone.
    """

    def __init__(
        self,
        model: Model,
        *,
        wordless: NDArray[np.int32],
        vocab_size: int,
        token: Callable[[int], str],
        threads: int | None,
    ) -> None:
        """Takes a model.

        Args:
            model: token ids to outputs.
            wordless: ids that enter no lexical output.
            vocab_size: columns of a lexical output.
            token: token id -> text, for display.
            threads: CPU threads of a batch.
        """
        self._model = model
        self._wordless = wordless
        self._vocab_size = vocab_size
        self._token = token
        self.threads = threads
        self.limit: int | None = None
        self._lock = threading.Lock()

    def encode(self, tokens: TokenizedTexts, outputs: Outputs, budget: int) -> Encodings:
        """The outputs of texts, in their order.

        Args:
            tokens: n tokenized texts.
            outputs: which ones.
            budget: the most tokens of a batch of more than one text.

        Raises:
            EncoderError: one text alone does not fit into memory.
        """
        count, model = len(tokens), self._model
        dense = np.empty((count, model.dim), np.float32) if outputs.dense else None
        weights: list[TokenWeights] = []
        vectors: list[NDArray[np.float32]] = [np.empty((0, model.colbert_dim), np.float32)] * count
        codes: list[TokenCodes] = []
        coded: list[NDArray[np.int64]] = []
        for batch, output in self._batches(tokens, outputs, budget):
            if dense is not None:
                dense[batch] = output.dense
            if output.weights is not None:
                weights.append(self._collapse(tokens, batch, output))
            if output.colbert is None:
                continue
            if outputs.codec is None:
                for row, matrix in zip(batch, output.colbert, strict=True):
                    vectors[row] = matrix
            else:
                codes.append(TokenCodes.code(output.colbert, outputs.codec, dim=model.colbert_dim))
                coded.append(batch)
        colbert: TokenCodes | list[NDArray[np.float32]] | None = vectors if outputs.colbert else None
        if outputs.colbert and outputs.codec is not None:
            parts = codes or [TokenCodes.code([], outputs.codec, dim=model.colbert_dim)]
            colbert = TokenCodes.select(parts, np.argsort(np.concatenate([np.empty(0, np.int64), *coded])))
        return Encodings(
            dense=dense,
            lexical=lexical_rows(weights, texts=count, vocab_size=self._vocab_size) if outputs.lexical else None,
            colbert=colbert,
            token=self._token,
        )

    def _batches(
        self, tokens: TokenizedTexts, outputs: Outputs, budget: int
    ) -> Iterator[tuple[NDArray[np.int64], BatchOutput]]:
        """Every batch with its outputs; one for which there is no memory comes in parts."""
        lengths, padded = tokens.lengths, self._model.padded
        pending = list(token_batches(lengths, min(budget, self.limit or budget), padded=padded))[::-1]
        while pending:
            batch = pending.pop()
            output = self._run(tokens, batch, outputs)
            if output is not None:
                yield batch, output
                continue
            # the smaller budget holds for what is left, and for later calls
            taken = int(lengths[batch].max()) * len(batch) if padded else int(lengths[batch].sum())
            self.limit = max(1, min(taken // 2, self.limit or taken))
            left = (batch, *pending[::-1])
            pending = [part for whole in left for part in parts_of(whole, lengths, self.limit, padded=padded)][::-1]

    def _run(self, tokens: TokenizedTexts, batch: NDArray[np.int64], outputs: Outputs) -> BatchOutput | None:
        """One batch, or None where memory does not suffice and the batch can be made smaller.

        The lock is given up between batches, so a query need not wait for a long call to end.
        """
        import torch

        ids = [tokens.ids[row] for row in batch]
        try:
            with self._lock, _torch_threads(self.threads) if self.threads else nullcontext():
                return self._model.run(
                    ids, tokens.skip[batch], dense=outputs.dense, lexical=outputs.lexical, colbert=outputs.colbert
                )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise EncoderError(
                    f"memory does not suffice for one text of {len(ids[0]):,} tokens on {self._model.device}: free "
                    f"some, or load the encoder with a lower max_tokens ({str(error).splitlines()[0]})"
                ) from error
        # outside of the handler: the error's frames, which hold the batch's tensors, are gone
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _collapse(self, tokens: TokenizedTexts, batch: NDArray[np.int64], output: BatchOutput) -> TokenWeights:
        assert output.weights is not None
        ids = np.concatenate([tokens.ids[row][tokens.skip[row] :] for row in batch])
        return TokenWeights.collapse(batch[output.rows], ids, output.weights, without=self._wordless)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that a device, or the processor, has no memory left."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error) for words in _CPU_OUT_OF_MEMORY)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Torch runs on this many threads in here; its setting comes back afterwards."""
    import torch

    with _THREADS:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
