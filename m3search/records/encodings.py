"""Encodings: the three outputs of an M3 encoder for a batch of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from m3search.errors import EncodingsError
from m3search.records.token_codes import TokenCodes

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Encodings:
    """Vectors of n texts (rows); an output that was not asked for is None.

    Attributes:
        dense: f32[n, dim]; an M3 encoder's are L2-normalised.
        lexical: CSR f32[n, vocab] of weights > 0, columns sorted.
        colbert: n arrays f32[t, dim], one row a token, L2-normalised; or the same as `TokenCodes`.
        offsets: i64[n_docs + 1]: document d owns the rows offsets[d] to offsets[d + 1] as its passages;
            None: a row is a document.
        token: token id -> the token as text, for display; None without a tokenizer.

    Raises:
        EncodingsError: outputs disagree in rows, have the wrong type or shape, or hold NaN, infinite or negative
            lexical values.
    """

    dense: NDArray[np.float32] | None = None
    lexical: sparse.csr_array | None = None
    colbert: Sequence[NDArray[np.float32]] | None = None
    offsets: NDArray[np.int64] | None = None
    token: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        if self.dense is not None:
            object.__setattr__(self, "dense", _dense(self.dense))
        if self.lexical is not None:
            object.__setattr__(self, "lexical", _lexical(self.lexical))
        if self.colbert is not None:
            object.__setattr__(self, "colbert", _colbert(self.colbert))
        rows = self._rows()
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
            raise EncodingsError(f"the outputs disagree on the number of texts: {counts} rows")
        if self.offsets is not None:
            object.__setattr__(self, "offsets", _offsets(self.offsets, len(self)))

    def _rows(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        if self.dense is not None:
            rows["dense"] = len(self.dense)
        if self.lexical is not None:
            rows["lexical"] = int(self.lexical.shape[0])
        if self.colbert is not None:
            rows["colbert"] = len(self.colbert)
        return rows

    def __len__(self) -> int:
        """The number of rows (texts, or passages where there are `offsets`)."""
        return next(iter(self._rows().values()), 0)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs that are there."""
        return tuple(self._rows())

    @property
    def documents(self) -> int:
        """The number of documents that the rows belong to."""
        return len(self) if self.offsets is None else len(self.offsets) - 1

    def rows(self, start: int, stop: int) -> Self:
        """The rows from `start` to `stop` as encodings of their own, without offsets."""
        return type(self)(
            dense=None if self.dense is None else self.dense[start:stop],
            lexical=None if self.lexical is None else self.lexical[start:stop],
            colbert=None if self.colbert is None else self.colbert[start:stop],
            token=self.token,
        )

    def lexical_dict(self, row: int, *, tokens: bool = False) -> dict[str, float]:
        """The lexical weights of one text, as FlagEmbedding gives them.

        Args:
            row: which text; negative counts from the end.
            tokens: keys are the tokens' texts instead of their ids.

        Returns:
            token id as a string (or the token) -> weight > 0.

        Raises:
            EncodingsError: there is no lexical output, or no tokenizer to name the tokens.
            IndexError: no such row.
        """
        if self.lexical is None:
            raise EncodingsError("these encodings have no lexical output: encode with lexical=True")
        if tokens and self.token is None:
            raise EncodingsError("these encodings come without a tokenizer, so ids cannot be turned into tokens")
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        start, stop = self.lexical.indptr[row], self.lexical.indptr[row + 1]
        weights: dict[str, float] = {}
        for index, weight in zip(self.lexical.indices[start:stop], self.lexical.data[start:stop], strict=True):
            key = self.token(int(index)) if tokens and self.token is not None else str(index)
            weights[key] = max(float(weight), weights.get(key, 0.0))
        return weights

    @classmethod
    def concatenate(cls, parts: Sequence[Encodings]) -> Encodings:
        """The rows of all parts in order; every part must have the same outputs.

        Raises:
            EncodingsError: the parts have different outputs or widths.
        """
        if not parts:
            return cls()
        kinds = {part.outputs for part in parts if part.outputs}
        if len(kinds) > 1:
            raise EncodingsError(f"parts with different outputs cannot be joined: {sorted(kinds)}")
        parts = [part for part in parts if part.outputs] or list(parts[:1])
        widths = {part.dense.shape[1] for part in parts if part.dense is not None}
        if len(widths) > 1:
            raise EncodingsError(f"dense vectors of widths {sorted(widths)} cannot be joined")
        columns = {int(part.lexical.shape[1]) for part in parts if part.lexical is not None}
        if len(columns) > 1:
            raise EncodingsError(f"lexical weights over vocabularies of {sorted(columns)} cannot be joined")
        lexical = [part.lexical for part in parts if part.lexical is not None]
        return cls(
            dense=np.concatenate([part.dense for part in parts if part.dense is not None]) if widths else None,
            lexical=sparse.csr_array(sparse.vstack(lexical, format="csr")) if lexical else None,
            colbert=None if parts[0].colbert is None else [v for part in parts for v in part.colbert or ()],
            offsets=_joined_offsets(parts),
            token=parts[0].token,
        )


def lexical_matching_score(a: Mapping[Any, float], b: Mapping[Any, float]) -> float:
    """Sum of the products of the weights that two lexical dictionaries share.

    Keys may be ids as int or str; the score is FlagEmbedding's ``compute_lexical_matching_score`` of one pair.
    """
    other = {str(key): float(weight) for key, weight in b.items()}
    return float(sum(float(weight) * other.get(str(key), 0.0) for key, weight in a.items()))


def _dense(value: Any) -> NDArray[np.float32]:  # noqa: ANN401 - lists of numbers are welcome
    array = _matrix(value)
    if array is None:
        raise EncodingsError(f"dense vectors are {_described(value)}: give f32[n, dim]")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise EncodingsError(
            f"the dense vector of row {int(np.flatnonzero(~finite)[0])} holds a value that is not finite"
        )
    return array


def _lexical(value: Any) -> sparse.csr_array:  # noqa: ANN401 - any scipy sparse class is welcome
    if not sparse.issparse(value):
        raise EncodingsError(f"lexical weights are {_described(value)}: give a scipy CSR array f32[n, vocab]")
    if value.ndim != 2:
        raise EncodingsError(f"lexical weights have the shape {value.shape}: give a scipy CSR array f32[n, vocab]")
    if value.dtype.kind != "f":
        raise EncodingsError(f"lexical weights are {value.dtype}: give floats")
    array = sparse.csr_array(value)
    if len(array.indices) and not 0 <= array.indices.min() <= array.indices.max() < array.shape[1]:
        raise EncodingsError(
            f"lexical weights have a column outside of their {array.shape[1]:,}: give CSR that is sound"
        )
    if array.dtype != np.float32 or not array.has_canonical_format or not (array.data > 0).all():
        with np.errstate(over="ignore"):  # what is too large for f32 becomes infinite, and is said below
            # sorting and adding up work in place, and the caller's arrays are not ours
            array = sparse.csr_array(array, dtype=np.float32, copy=True)
        array.sum_duplicates()
    for wrong, what in ((~np.isfinite(array.data), "value that is not finite"), (array.data < 0, "negative value")):
        if wrong.any():
            row = int(np.searchsorted(array.indptr, np.flatnonzero(wrong)[0], side="right")) - 1
            raise EncodingsError(f"the lexical weights of row {row} hold a {what}: weights are finite and >= 0")
    if not (array.data > 0).all():
        array.eliminate_zeros()
    return array


def _colbert(value: Any) -> Sequence[NDArray[np.float32]]:  # noqa: ANN401 - any sequence of arrays is welcome
    if isinstance(value, TokenCodes):
        return value
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes)):
        raise EncodingsError(f"token vectors are {_described(value)}: give a list of f32[tokens, dim], one a text")
    vectors: list[NDArray[np.float32]] = []
    for row, item in enumerate(value):
        array = _matrix(item)
        if array is None:
            raise EncodingsError(f"token vectors of row {row} are {_described(item)}: give f32[tokens, dim]")
        if vectors and array.shape[1] != vectors[0].shape[1]:
            raise EncodingsError(
                f"token vectors of row {row} are {array.shape[1]} wide, those of row 0 {vectors[0].shape[1]}"
            )
        if not np.isfinite(array).all():
            raise EncodingsError(f"token vectors of row {row} hold a value that is not finite")
        vectors.append(array)
    return vectors


def _matrix(value: Any) -> NDArray[np.float32] | None:  # noqa: ANN401 - lists of numbers are welcome
    """The value as contiguous f32[n, dim > 0], or None if it is no such thing; what f32 cannot hold becomes infinite."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return None
    if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        return None
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _described(value: Any) -> str:  # noqa: ANN401 - whatever was handed in
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    try:
        array = np.asarray(value)
    except ValueError:
        return f"a {type(value).__name__} of rows of different lengths"
    return f"a {type(value).__name__}" + (
        f", {array.dtype}{list(array.shape)}" if isinstance(value, list | tuple) else ""
    )


def _offsets(value: Any, rows: int) -> NDArray[np.int64]:  # noqa: ANN401 - a list of ints is welcome
    offsets = np.asarray(value)
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or not len(offsets):
        raise EncodingsError(f"offsets are {offsets.dtype}{list(offsets.shape)}: give i64[n_docs + 1]")
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != rows:
        raise EncodingsError(
            f"offsets must rise from 0 to the number of rows, {rows}; they go from {offsets[0]} to {offsets[-1]}"
        )
    falling = np.flatnonzero(np.diff(offsets) < 0)
    if len(falling):
        document = int(falling[0])
        raise EncodingsError(
            f"offsets must rise, but document {document} would have the rows from {offsets[document]} "
            f"to {offsets[document + 1]}"
        )
    return offsets


def _joined_offsets(parts: Sequence[Encodings]) -> NDArray[np.int64] | None:
    if all(part.offsets is None for part in parts):
        return None
    sizes = [np.ones(len(part), np.int64) if part.offsets is None else np.diff(part.offsets) for part in parts]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(sizes))])
