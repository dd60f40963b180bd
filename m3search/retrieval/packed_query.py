"""PackedQuery: a query's token vectors, laid out for the loops of MaxSim.

Imports the tile's sizes and storage's signs. Invariant: a packed query is a function of the query alone, so a score is one of
the query and the passage.

Against int8 codes a query is rounded to 16 bits, a step per token, and products are whole numbers: a sum of them is exact, and
no order of adding changes it. The step is the smallest for which no sum leaves 32 bits. It is 1/32767 of the token's largest
component, but for tokens whose components are nearly all of one size, in which 128 times the sum of all components decides.
These products only say which of the passage's tokens is the best; its product with the query as it is, is the score.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from m3search.records.token_codes import sign_words
from m3search.retrieval.product_tile import LANES, PER_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_CODE = 128  # of an int8, damaged ones included
_LARGEST = 32767
_LARGEST_SUM = 2.0**31 - 2.0**16
_NO_CURVE = np.empty(0)
_NO_QUERY = np.empty((0, 0))
_PADDING = 32  # values between rows: rows that lie a power of two apart would meet in the same places of a cache


class PackedQuery(NamedTuple):
    """A query of m tokens for one kind of code.

    Attributes:
        lanes: i16, f32 or u32, packed: groups of 16 tokens, in each the loop's steps, in each 16 times what a step takes.
        groups: how many.
        steps: of the loop.
        factors: f64[m], what each token's best counts.
        curve: f64[bits + 1], the score of a token whose signs differ in so many bits; empty for products.
        sign: 1, or -1 where less is better.
        exact: f64[m, dim], what the best are scored with once they are known; f64[0, 0] where they are already.
    """

    lanes: NDArray[Any]
    groups: int
    steps: int
    factors: NDArray[np.float64]
    curve: NDArray[np.float64]
    sign: float
    exact: NDArray[np.float64]

    @property
    def width(self) -> int:
        """Values from one row of a tile to the next."""
        return self.steps * PER_STEP[self.lanes.dtype.name] + _PADDING


def for_int8(query: NDArray[np.float32]) -> PackedQuery:
    """f32[m, dim], rounded to multiples of `steps_of`."""
    exact = query.astype(np.float64)
    codes = exact / steps_of(query)[:, None]
    np.rint(codes, out=codes)
    return _packed(codes.astype(np.int16), np.ones(len(query)), exact=exact)


def steps_of(query: NDArray[np.float32]) -> NDArray[np.float64]:
    """f64[m]: what the components of f32[m, dim] are rounded to multiples of; each is off by half a step at most."""
    sizes = np.abs(query, dtype=np.float64)
    room = (_LARGEST_SUM - _LARGEST_CODE / 2 * query.shape[1]) / _LARGEST_CODE  # rounding adds half a step a component
    steps: NDArray[np.float64] = np.maximum(sizes.max(axis=1) / _LARGEST, sizes.sum(axis=1) / room)
    return np.where(steps > 0, steps, 1.0)


def for_bf16(query: NDArray[np.float32]) -> PackedQuery:
    """f32[m, dim], as it is."""
    return _packed(query, np.ones(len(query)))


def for_signs(query: NDArray[np.float32]) -> PackedQuery:
    """f32[m, dim], as a bit a component."""
    lengths = np.linalg.norm(query.astype(np.float64), axis=1)
    return _packed(sign_words(query), lengths, curve=_curve(query.shape[1]), sign=-1.0)


@lru_cache(maxsize=8)
def _curve(dim: int) -> NDArray[np.float64]:
    """cos(pi h / dim) for h differing signs: the cosine of the angle that two random directions differ so much at.

    Source: Goemans and Williamson (1995), lemma 3.2; Charikar (2002), section 3.
    """
    return np.cos(np.pi * np.arange(dim + 1) / dim)


def _packed(
    values: NDArray[Any],
    factors: NDArray[np.float64],
    *,
    curve: NDArray[np.float64] = _NO_CURVE,
    sign: float = 1.0,
    exact: NDArray[np.float64] = _NO_QUERY,
) -> PackedQuery:
    """Values [m, n] as lanes; tokens and values that are not there are zeros."""
    per_step = PER_STEP[values.dtype.name]
    tokens, width = values.shape
    groups, steps = -(-tokens // LANES), -(-width // per_step)
    whole = np.zeros((groups * LANES, steps * per_step), values.dtype)
    whole[:tokens, :width] = values
    words = whole.view(np.uint32).reshape(groups, LANES, steps)  # a step takes four bytes, whatever they are
    lanes = np.ascontiguousarray(words.transpose(0, 2, 1)).reshape(-1).view(values.dtype)
    return PackedQuery(lanes, groups, steps, factors, curve, sign, exact)
