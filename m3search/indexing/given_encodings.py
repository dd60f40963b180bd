"""Given encodings: batches of vectors that a user hands in with the documents.

Imports storage's config and records. Invariant: what passes `check_batch` has the outputs and widths of the index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.analysis.passages import Passage
from m3search.errors import EncodingsError
from m3search.records import Encodings
from m3search.records.token_codes import TokenCodes

if TYPE_CHECKING:
    from m3search.indexing.sources.record import Record
    from m3search.records import Document
    from m3search.storage import IndexConfig


def batches_of(encodings: Iterable[Encodings] | Encodings) -> Iterator[Encodings]:
    """The batches that a user gave, each checked to be one.

    Raises:
        EncodingsError: something else is among them.
    """
    if isinstance(encodings, Encodings) or not isinstance(encodings, Iterable):
        encodings = [encodings]
    for batch in encodings:
        if not isinstance(batch, Encodings):
            raise EncodingsError(
                f"the encodings are of type {type(batch).__name__}: give Encodings, or an iterable of them"
            )
        yield batch


class Window:
    """The next `left` of an iterator; what is left tells whether it ended before."""

    def __init__(self, records: Iterator[Record], left: int) -> None:
        self.left = left
        self._records = records

    def __iter__(self) -> Iterator[Record]:
        while self.left:
            record = next(self._records, None)
            if record is None:
                return
            self.left -= 1
            yield record


def config_of(config: IndexConfig, batch: Encodings) -> IndexConfig:
    """The config with the outputs and widths of a batch."""
    colbert = config.colbert_dim
    if batch.colbert is None:
        colbert = None
    elif isinstance(batch.colbert, TokenCodes):
        colbert = batch.colbert.dim
    elif len(batch.colbert):
        colbert = int(batch.colbert[0].shape[1])
    return replace(
        config,
        dense_dim=None if batch.dense is None else int(batch.dense.shape[1]),
        vocab_size=None if batch.lexical is None else int(batch.lexical.shape[1]),
        colbert_dim=colbert,
    )


def given_passages(document: Document, batch: Encodings, row: int) -> list[Passage]:
    """As many passages as the encodings have rows for the document; where each lies in the text is not known."""
    count = 1 if batch.offsets is None else int(batch.offsets[row + 1] - batch.offsets[row])
    return [Passage((0, len(document.text)), document.content)] * count


def rows_of(batch: Encodings, documents: Sequence[int]) -> Encodings:
    """The rows of some of a batch's documents."""
    offsets = np.arange(len(batch) + 1) if batch.offsets is None else batch.offsets
    rows: list[int] = [row for number in documents for row in range(int(offsets[number]), int(offsets[number + 1]))]
    if len(rows) == len(batch):
        return batch
    index: Any = np.array(rows, np.int64)
    colbert = batch.colbert
    return Encodings(
        dense=None if batch.dense is None else batch.dense[index],
        lexical=None if batch.lexical is None else batch.lexical[index],
        colbert=TokenCodes.select([colbert], index)
        if isinstance(colbert, TokenCodes)
        else None
        if colbert is None
        else [colbert[row] for row in rows],
    )


def check_batch(config: IndexConfig, batch: Encodings, first: int, *, index: bool) -> None:
    """Make sure that a batch goes with what is indexed.

    Args:
        config: of what is there: the batches before, or the index.
        batch: the batch.
        first: ordinal of its first document.
        index: whether an index is there already.

    Raises:
        EncodingsError: it has other outputs, or in other widths.
    """
    found = config_of(config, batch)
    _check_encoder(found)
    for name in ("dense_dim", "vocab_size", "colbert_dim"):
        mine, its = getattr(config, name), getattr(found, name)
        if mine == its or (name == "colbert_dim" and batch.colbert is not None and not len(batch)):
            continue
        if index:
            raise EncodingsError(
                f"the encodings from document {first:,} on have {name} {its}, this index has {mine}: "
                f"give the outputs that the index was built with, in their width"
            )
        raise EncodingsError(
            f"the encodings from document {first:,} on have {name} {its}, those before have {mine}: "
            f"every batch must have the same outputs in the same width"
        )


def _check_encoder(found: IndexConfig) -> None:
    """Whether the encoder that is to encode the queries makes vectors like these."""
    encoder = found.encoder
    if encoder is None:
        return
    wanted = {"dense_dim": encoder.dim, "vocab_size": encoder.vocab_size, "colbert_dim": encoder.colbert_dim}
    for name, own in wanted.items():
        its = getattr(found, name)
        if its not in {None, own}:
            raise EncodingsError(
                f"the encodings have {name} {its}, those of the encoder {encoder.name!r} have {own}: "
                f"give the encoder that made them, or encoder=None"
            )
