"""Encoder: the public face of a loaded model.

Owns loading by name and encoding in any number of texts. Imports records, errors and its neighbours; torch when
loaded. Invariant: rows come back in the order of the texts, whatever the batches were.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, overload

from m3search.encoder import hub, mini
from m3search.encoder.checkpoint import Checkpoint
from m3search.encoder.device import INT8
from m3search.encoder.quality import PROBES, Similarity
from m3search.encoder.query_cache import QueryCache
from m3search.encoder.runner import Outputs, Runner
from m3search.encoder.scoring import score_pairs
from m3search.encoder.stream import Window, tokenized_groups, tokenized_windows
from m3search.encoder.tokenizer import TextTokenizer, checked_texts
from m3search.errors import EncoderError, InputError
from m3search.records.token_codes import check_codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from m3search.encoder.model import Model, TokenStates
    from m3search.encoder.tokenizer import TokenizedTexts
    from m3search.records import EncoderIdentity, Encodings, Weights

BATCH_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 16384}
"""Tokens of a batch by kind of device."""

_COLBERT_BYTES = 256 * 2**20
"""Of token vectors in fp32 that a window of texts may have, where every character is a token; of English, a quarter."""

_WINDOW = Window()

_WINDOW_BATCHES = 8
"""Batches' worth of characters that are sorted by length together."""


class Encoder:
    """An M3 encoder: texts to dense, lexical and multi-vector outputs; safe to use from several threads.

    Attributes:
        identity: which model this is, precise enough to tell a look-alike.
        recommended_weights: the blend that suits its outputs.
        device: where it runs, as text.
        int8_similarity: how near int8 came to fp32 when it was loaded; None for other types.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: TextTokenizer,
        model: Model,
        identity: EncoderIdentity,
        *,
        threads: int | None = None,
        int8_similarity: Similarity | None = None,
    ) -> None:
        """Puts loaded parts together; use `Encoder.load`."""
        self.identity = identity
        self.recommended_weights: Weights = checkpoint.settings.weights
        self.device = str(model.device)
        self._settings = checkpoint.settings
        self._tokenizer = tokenizer
        self._queries = QueryCache()
        self.int8_similarity = int8_similarity
        self._runner = Runner(
            model,
            wordless=tokenizer.wordless,
            vocab_size=identity.vocab_size,
            token=tokenizer.token,
            threads=threads,
        )

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        revision: str | None = None,
        max_tokens: int | None = None,
        padded: bool = False,
    ) -> Encoder:
        """Loads a model.

        Args:
            name: "mini" (embedded, 384 dims, English), a name on the hub such as "BAAI/bge-m3", or a folder in M3's
                layout.
            device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" (fp16 on CUDA, else fp32), "fast" (fp16 on CUDA, bf16 where the processor has it, else fp32),
                "fp32", "fp16", "bf16", or "int8" (CPU): linear layers multiply bytes, a scale for each output and each
                token. What that does to this model's vectors is measured at loading and printed to stderr.
            threads: CPU threads of a call; None leaves torch's setting alone.
            revision: the hub's branch, tag or commit; None takes what is cached, else the newest.
            max_tokens: a lower limit than the model's, tokens of one text with special tokens.
            padded: runs transformers' own modules over padded batches: the slow way that the fast one is held against.

        Raises:
            EncoderError: no such model, device or type, or the hub cannot be reached.
            CheckpointError: the model's files are incomplete or damaged.
            InputError: threads or max_tokens below 1.
        """
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}: give a number from 1, or None")
        checkpoint = _limited(locate(name, revision), max_tokens)

        from m3search.encoder.backbone import Backbone, pad_id
        from m3search.encoder.head import read_head
        from m3search.encoder.model import Model

        settings, hidden = checkpoint.settings, int(checkpoint.config["hidden_size"])
        sparse = read_head(checkpoint.sparse, hidden=hidden, rows=1)
        colbert = read_head(checkpoint.colbert, hidden=hidden)
        tokenizer = TextTokenizer(
            checkpoint.tokenizer,
            max_tokens=settings.max_tokens,
            pad_id=pad_id(checkpoint),
            vocab_size=int(checkpoint.config["vocab_size"]),
            # XLM-R's mask stays in lexical outputs, as FlagEmbedding has it
            mask_token=settings.mask_token if checkpoint.config["model_type"] == "bert" else "",
        )
        for prefix in (settings.query_prefix, settings.passage_prefix):
            if tokenizer.room(prefix) < 1:
                raise EncoderError(
                    f"the prefix {prefix!r} leaves no room in {settings.max_tokens} tokens: raise the limit"
                )
        backbone: TokenStates
        if padded:
            if dtype == INT8:
                raise EncoderError('dtype "int8" has no padded way: leave padded out')
            from m3search.encoder.padded import PaddedBackbone

            backbone = PaddedBackbone(checkpoint, device=device, dtype=dtype)
        else:
            backbone = Backbone(checkpoint, device=device, dtype=dtype)
        model = Model(backbone, pooling=settings.pooling, sparse=sparse, colbert=colbert)
        similarity = None
        if dtype == INT8:
            exact = Backbone(checkpoint, device=device, dtype="fp32")
            similarity = Similarity.between(
                Model(exact, pooling=settings.pooling, sparse=sparse, colbert=colbert),
                model,
                tokenizer.tokenize(PROBES, settings.passage_prefix),
            )
            del exact
            print(f"m3search: {checkpoint.name} in int8: {similarity}", file=sys.stderr)
        identity = checkpoint.identity(sparse=sparse, colbert=colbert, max_tokens=settings.max_tokens)
        return cls(checkpoint, tokenizer, model, identity, threads=threads, int8_similarity=similarity)

    @property
    def name(self) -> str:
        """What it was loaded by."""
        return self.identity.name

    @property
    def dim(self) -> int:
        """Width of a dense vector."""
        return self.identity.dim

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the width of a lexical row."""
        return self.identity.vocab_size

    @property
    def max_tokens(self) -> int:
        """Tokens of one text, special tokens counted in; what is longer is cut."""
        return self.identity.max_tokens

    @property
    def batch_tokens(self) -> int:
        """The most tokens that go through the model at once where nothing else is asked for; it depends on the device."""
        return BATCH_TOKENS.get(self.device.partition(":")[0], BATCH_TOKENS["mps"])

    @property
    def room(self) -> int:
        """Ordinary tokens that fit into one passage, beside special tokens and the passage prefix."""
        return self._tokenizer.room(self._settings.passage_prefix)

    def encode(
        self,
        texts: Sequence[str],
        *,
        query: bool = False,
        dense: bool = True,
        lexical: bool = True,
        colbert: bool = False,
        batch_tokens: int | None = None,
    ) -> Encodings:
        """The outputs of texts, in their order.

        Args:
            texts: any number; an empty text has a dense vector, no lexical weights and one token vector.
            query: texts are queries, not passages; matters where the model has prefixes. The last single queries are
                kept, so a query that comes again costs no forward pass.
            dense: whether to return f32[n, dim], L2-normalised.
            lexical: whether to return CSR f32[n, vocab_size] of weights > 0.
            colbert: whether to return n arrays f32[t, colbert_dim], L2-normalised.
            batch_tokens: the most tokens that go through the model at once; None suits the
                device. Results do not depend on it but for about 1e-7.

        Raises:
            InputError: a text that is no str or holds a lone surrogate (the message names the row), no output asked
                for, or batch_tokens below 1.
        """
        outputs = Outputs(dense=dense, lexical=lexical, colbert=colbert)
        budget = self._budget(outputs, batch_tokens)
        rows = checked_texts(texts)

        def encode() -> Encodings:
            return self._runner.encode(self._tokenize(rows, query=query), outputs, budget)

        return self._queries.get(rows[0], outputs, encode) if query and len(rows) == 1 else encode()

    def encode_iter(
        self,
        texts: Iterable[str],
        *,
        query: bool = False,
        dense: bool = True,
        lexical: bool = True,
        colbert: bool = False,
        colbert_codec: str | None = None,
        batch_tokens: int | None = None,
    ) -> Iterator[Encodings]:
        """The outputs of any number of texts, in their order, in memory that does not grow with their number.

        Some thousands of texts are read before the first are encoded; they are tokenized while the model still works on
        those before them. What comes before a text that is none, or before an error of the source, is still encoded.

        Args:
            texts: any iterable; it is read in the thread that asks for the encodings.
            query: as for `encode`.
            dense: as for `encode`.
            lexical: as for `encode`.
            colbert: as for `encode`.
            colbert_codec: "int8", "bf16" or "int8+bits": token vectors leave as they are stored, as `TokenCodes`, which
                takes a quarter to a half of the memory; implies `colbert`.
            batch_tokens: as for `encode`.

        Yields:
            Encodings of the next texts, some thousands at a time.

        Raises:
            InputError: as for `encode`, or no such codec.
        """
        if isinstance(texts, (str, bytes)):
            raise InputError(f"{type(texts).__name__} given where texts belong: write [text]")
        if colbert_codec is not None:
            check_codec(colbert_codec)
        outputs = Outputs(
            dense=dense, lexical=lexical, colbert=colbert or colbert_codec is not None, codec=colbert_codec
        )
        budget = self._budget(outputs, batch_tokens)
        window = replace(_WINDOW, characters=max(_WINDOW.characters, _WINDOW_BATCHES * budget))
        if outputs.colbert:
            # a text may have a token for every character
            window = replace(window, characters=max(budget, _COLBERT_BYTES // (4 * self.identity.colbert_dim)))
        return self._encode_windows(
            tokenized_windows(texts, window, partial(self._tokenize, query=query)), outputs, budget
        )

    def encode_groups(
        self,
        groups: Iterable[Sequence[str]],
        *,
        query: bool = False,
        dense: bool = True,
        lexical: bool = True,
        colbert: bool = False,
        colbert_codec: str | None = None,
        batch_tokens: int | None = None,
    ) -> Iterator[Encodings]:
        """The outputs of groups of texts, one `Encodings` for each: `encode_iter` where the source says what belongs together.

        A build takes this, because what it commits ends where a document does. What comes out for a group depends on nothing
        but the group, so whoever begins again at any of them gets the same bits.

        Args:
            groups: any iterable, read one group ahead, in the thread that asks; a group may be empty.
            query: as for `encode`.
            dense: as for `encode`.
            lexical: as for `encode`.
            colbert: as for `encode`.
            colbert_codec: as for `encode_iter`.
            batch_tokens: as for `encode`.

        Yields:
            Encodings of the next group.

        Raises:
            InputError: as for `encode_iter`.
        """
        if colbert_codec is not None:
            check_codec(colbert_codec)
        outputs = Outputs(
            dense=dense, lexical=lexical, colbert=colbert or colbert_codec is not None, codec=colbert_codec
        )
        budget = self._budget(outputs, batch_tokens)
        checked = (checked_texts(group) for group in groups)
        return self._encode_windows(tokenized_groups(checked, partial(self._tokenize, query=query)), outputs, budget)

    def _encode_windows(self, windows: Iterator[TokenizedTexts], outputs: Outputs, budget: int) -> Iterator[Encodings]:
        for tokens in windows:
            yield self._runner.encode(tokens, outputs, budget)

    def _tokenize(self, texts: Sequence[str], *, query: bool) -> TokenizedTexts:
        return self._tokenizer.tokenize(texts, self._settings.query_prefix if query else self._settings.passage_prefix)

    def _budget(self, outputs: Outputs, batch_tokens: int | None) -> int:
        """Tokens of a batch, once the arguments are seen to be sound."""
        if not (outputs.dense or outputs.lexical or outputs.colbert):
            raise InputError("nothing to encode: ask for at least one of dense, lexical and colbert")
        budget = self.batch_tokens if batch_tokens is None else batch_tokens
        if budget < 1:
            raise InputError(f"batch_tokens is {batch_tokens}: give a number from 1, or None")
        return budget

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Where every ordinary token of a text stands, for splitting long texts.

        Args:
            texts: any texts; nothing is cut, and neither special tokens nor prefixes are counted.

        Returns:
            Per text i64[t, 2]: first character and one past the last.

        Raises:
            InputError: as for `encode`.
        """
        return self._tokenizer.spans(checked_texts(texts))

    def tokens(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The ordinary tokens of a text: ids i64[t], which are columns of the lexical output, and places as `token_spans`.

        Raises:
            InputError: as for `encode`.
        """
        return self._tokenizer.pieces(checked_texts(texts))

    def token(self, token_id: int) -> str:
        """A token of the lexical output as text, for display; "" for an id that is none."""
        return self._tokenizer.token(token_id)

    @overload
    def compute_score(
        self,
        pairs: tuple[str, str],
        weights: Sequence[float] | Weights | None = None,
        *,
        batch_tokens: int | None = None,
    ) -> dict[str, float]: ...
    @overload
    def compute_score(
        self,
        pairs: Sequence[tuple[str, str]],
        weights: Sequence[float] | Weights | None = None,
        *,
        batch_tokens: int | None = None,
    ) -> dict[str, list[float]]: ...
    def compute_score(
        self,
        pairs: Sequence[tuple[str, str]] | tuple[str, str],
        weights: Sequence[float] | Weights | None = None,
        *,
        batch_tokens: int | None = None,
    ) -> dict[str, list[float]] | dict[str, float]:
        """The five scores of pairs of texts, named as in FlagEmbedding.

        Args:
            pairs: (query, passage) pairs; a single pair gives numbers instead of lists.
            weights: of dense, sparse and colbert, in this order, or `Weights`; None weighs all three 1.
            batch_tokens: as for `encode`.

        Returns:
            "colbert", "sparse", "dense", "sparse+dense" and "colbert+sparse+dense" -> a score for each pair. A blend
            is the weighted mean; "sparse+dense" is 0 where both weigh 0.

        Raises:
            InputError: a pair that is no pair of texts.
            WeightsError: weights that are negative, not finite, not three, or all 0.
        """
        single = len(pairs) == 2 and all(isinstance(side, str) for side in pairs)

        def encode(texts: list[str], *, query: bool) -> Encodings:
            return self.encode(texts, query=query, colbert=True, batch_tokens=batch_tokens)

        scores = score_pairs(
            [pairs] if single else pairs,  # type: ignore[list-item, arg-type]
            weights,
            encode_queries=lambda texts: encode(texts, query=True),
            encode_passages=lambda texts: encode(texts, query=False),
        )
        return {name: values[0] for name, values in scores.items()} if single else scores

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, dim={self.dim}, max_tokens={self.max_tokens}, device={self.device!r})"


def locate(name: str | Path, revision: str | None = None) -> Checkpoint:
    """The checkpoint that a name stands for: "mini", a folder, or a name on the hub.

    Raises:
        EncoderError: there is no such folder, and the name is none of the hub's.
        CheckpointError: the files are incomplete or damaged.
    """
    if name == mini.NAME:
        return mini.find_mini(revision)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Checkpoint.read(folder, name=str(name))
    if not isinstance(name, str) or not hub.is_hub_name(name):
        raise EncoderError(
            f'there is no encoder {str(name)!r}: give "mini", a folder that exists, or a name on the hub such as '
            '"BAAI/bge-m3"'
        )
    fetched, commit = hub.fetch(name, revision)
    return Checkpoint.read(fetched, name=name, revision=commit)


def _limited(checkpoint: Checkpoint, max_tokens: int | None) -> Checkpoint:
    if max_tokens is None:
        return checkpoint
    limit = checkpoint.settings.max_tokens
    if not 1 <= max_tokens <= limit:
        raise InputError(f"max_tokens is {max_tokens}: this model takes 1 to {limit}")
    return replace(checkpoint, settings=replace(checkpoint.settings, max_tokens=max_tokens))
