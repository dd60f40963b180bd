"""BuildConfig: the arguments of a build, checked and turned into what an index stores.

Imports analysis and storage; knows an encoder only by its identity. Invariant: a config that was made can be built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from m3search.analysis.analyzer import Analyzer
from m3search.errors import InputError, WeightsError
from m3search.records import LEGS, PRESETS, Passages, Weights, WeightsLike, check_codec
from m3search.storage import DenseSettings, IndexConfig

if TYPE_CHECKING:
    from m3search.encoder import Encoder


def build_config(
    encoder: Encoder | None,
    *,
    bm25: bool | Mapping[str, Any],
    colbert: str | None,
    dense: DenseSettings,
    given: bool,
    segment_size: int,
    weights: WeightsLike = None,
    passages: Passages | None = None,
) -> IndexConfig:
    """What a build will hold; with given encodings their widths are filled in when the first batch is there."""
    if isinstance(segment_size, bool) or not isinstance(segment_size, int) or not 1 <= segment_size <= 2**31:
        raise InputError(f"segment_size is {segment_size!r}: give a whole number from 1")
    stored = None if weights is None else Weights.of(weights)
    named = set() if stored is None or (isinstance(weights, str) and weights in PRESETS) else set(stored.positive())
    if missing := named - _legs(encoder, bm25, colbert, given=given):
        raise WeightsError(f"weights name {min(missing)}, which this index will not have: leave it out, or build it")
    codec = check_codec("int8" if colbert is None else colbert)
    if encoder is None and not given and not bm25:
        raise InputError("nothing to index: give an encoder or encodings, or leave bm25 on")
    if colbert is not None and encoder is None and not given:
        raise InputError("colbert needs token vectors: give an encoder, or encodings that have them")
    if passages is not None:
        if not isinstance(passages, Passages):
            raise InputError(f"passages is a {type(passages).__name__}: give m3search.Passages(tokens=...), or None")
        if given:
            raise InputError("passages cannot be cut where encodings are given: these have the passages as rows")
        passages.room(None if encoder is None else encoder.room)
    identity = None if encoder is None else encoder.identity
    encodes = identity is not None and not given
    return IndexConfig(
        dense_dim=identity.dim if encodes and identity else None,
        dense_kind=dense.kind,
        dense_options=dense.options,
        vocab_size=identity.vocab_size if encodes and identity else None,
        colbert_dim=identity.colbert_dim if encodes and identity and colbert is not None else None,
        colbert_codec=codec,
        bm25=bm25_config(bm25),
        encoder=identity,
        weights=stored or (None if encoder is None else encoder.recommended_weights),
        segment_size=segment_size,
        passages=passages,
    )


def _legs(encoder: Encoder | None, bm25: object, colbert: str | None, *, given: bool) -> set[str]:
    """What the index may come to have; with given encodings only these will tell."""
    if given:
        return set(LEGS) - (set() if bm25 else {"bm25"})
    made = set() if encoder is None else {"dense", "lexical"} | ({"colbert"} if colbert is not None else set())
    return made | ({"bm25"} if bm25 else set())


def bm25_config(settings: Mapping[str, Any] | bool) -> dict[str, Any] | None:
    """What an index stores of BM25's settings; None: it has none.

    Raises:
        InputError: there is no such setting, or no such value of it.
    """
    if settings is False:
        return None
    if settings is not True and not isinstance(settings, Mapping):
        raise InputError(f"bm25 is {settings!r}: give True, False, or a mapping such as {{'language': 'de'}}")
    given = {} if settings is True else dict(settings)
    language = given.pop("language", "en")
    k1, b = given.pop("k1", 1.2), given.pop("b", 0.75)
    if given:
        raise InputError(f"bm25 has no setting {min(given)!r}: there are language, k1 and b")
    if not (_is_number(k1) and 0 <= k1 < float("inf") and _is_number(b) and 0 <= b <= 1):
        raise InputError(f"bm25 has k1={k1!r} and b={b!r}: k1 is a number >= 0, b one from 0 to 1")
    return {"analyzer": Analyzer(language).to_dict(), "k1": float(k1), "b": float(b)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
