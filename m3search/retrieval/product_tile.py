"""ProductTile: the inner loop of MaxSim, a few document tokens against 16 query tokens at a time.

Imports numba. A tile is written in LLVM's own words, because its sums must stay in registers: 16 lanes for the query's
tokens, so that the maximum over the document's tokens is one of lanes and nothing is ever added across them. Where the
processor has an instruction for two 16-bit products and their sum, the compiler takes it. Invariant: what a lane gets depends
on its query token and on the document's tokens alone, in any company.
"""

# ruff: noqa: ANN401, ARG001 - numba's protocol and LLVM's values

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

LANES = 16
"""Query tokens of a tile."""

TILE = 16 if "+avx512bw" in cpu_target.target_context.codegen().magic_tuple()[2] else 6
"""Document tokens of a tile: as many sums as a processor has room for in its registers, without AVX-512 a third."""

PER_STEP = {"int16": 2, "float32": 1, "uint32": 1}
"""Values of a token that a step of the loop takes, by the type that a tile computes in."""

_BYTE, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F32 = ir.FloatType()
_READ, _KEEP, _DATA = 0, 3, 1
_WIDE, _LANES, _FLOATS = ir.VectorType(_I32, 2 * LANES), ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)
_QUERY = {"int16": ir.VectorType(_I16, 2 * LANES), "float32": _FLOATS, "uint32": _LANES}
_TOKEN = {"int16": _I32, "float32": _F32, "uint32": _I32}
_SUMS = {"int16": _LANES, "float32": _FLOATS, "uint32": _LANES}


@intrinsic
def widened(typing_context: Any, code: Any) -> Any:
    """A stored code as tiles compute with it: i8 as i16, bf16 (u16) as f32, u32 as it is."""
    result = {types.int8: types.int16, types.uint16: types.float32, types.uint32: types.uint32}[code]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if code == types.int8:
            return builder.sext(arguments[0], _I16)
        if code == types.uint16:
            return builder.bitcast(builder.shl(builder.zext(arguments[0], _I32), _I32(16)), _F32)
        return arguments[0]

    return result(code), generate


@intrinsic
def product_tile(
    typing_context: Any,
    query: Any,
    group: Any,
    rows: Any,
    width: Any,
    steps: Any,
    factors: Any,
    best: Any,
    winners: Any,
    first: Any,
    codes: Any,
    ahead: Any,
) -> Any:
    """Raises best[16 * group:][:16] to the largest factors[t] * (query token . rows[t]) of the `TILE` rows; winners: first + t.

    i16: the sum in 32 bits, which the query has to be small enough for. f32: summed in order. u32: the number of bits in which
    the two differ.

    `query` is i16, f32 or u32, packed group by group, step by step, token by token; `group` says which 16 of its tokens.
    `rows` is i16, f32 or u32[TILE * width], `steps` the steps of the loop, each of which takes `PER_STEP` values of a row; what
    lies there beyond a token's own values meets zeros of the query. `factors` is f32[TILE], `best` f32[16 * groups] and
    `winners` i32[16 * groups]; of equal products the first wins. While the products are made, the stored `codes` of the token
    `ahead` are asked for, and of the `TILE - 1` after it.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(place: int) -> Any:
            return context.make_array(signature.args[place])(context, builder, arguments[place]).data

        kind, per_step = str(rows.dtype), PER_STEP[str(rows.dtype)]
        row_starts = [builder.gep(data(2), [builder.mul(arguments[3], _I64(token))]) for token in range(TILE)]
        group_size = builder.mul(arguments[4], _I64(LANES * per_step))
        query_start = builder.gep(data(0), [builder.mul(arguments[1], group_size)])
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_SUMS[kind], None)) for _ in range(TILE)]
        stored = context.make_array(codes)(context, builder, arguments[9])
        next_row = builder.mul(arguments[10], cgutils.unpack_tuple(builder, stored.strides)[0])
        next_codes = builder.gep(builder.bitcast(stored.data, _BYTE.as_pointer()), [next_row])
        step_bytes = per_step * TILE * codes.dtype.bitwidth // 8
        with cgutils.for_range(builder, arguments[4], intp=_I64) as loop:
            _prefetch(builder, builder.gep(next_codes, [builder.mul(loop.index, _I64(step_bytes))]))
            at = builder.mul(loop.index, _I64(LANES * per_step))
            lanes = _load(builder, builder.gep(query_start, [at]), _QUERY[kind])
            at = builder.mul(loop.index, _I64(per_step))
            for start, total in zip(row_starts, sums, strict=True):
                token = _everywhere(builder, _load(builder, builder.gep(start, [at]), _TOKEN[kind]))
                builder.store(_added(builder, kind, builder.load(total), lanes, token), total)
        group_start = builder.mul(arguments[1], _I64(LANES))
        score_place = builder.bitcast(builder.gep(data(6), [group_start]), _FLOATS.as_pointer())
        winner_place = builder.bitcast(builder.gep(data(7), [group_start]), _LANES.as_pointer())
        highest, winner = builder.load(score_place, align=4), builder.load(winner_place, align=4)
        number = builder.trunc(arguments[8], _I32)
        for token, total in enumerate(sums):
            factor = builder.load(builder.gep(data(5), [_I64(token)]))
            product = builder.load(total)
            if kind != "float32":
                product = builder.sitofp(product, _FLOATS)
            score = builder.fmul(product, _everywhere(builder, factor))
            higher = builder.fcmp_ordered(">", score, highest)
            highest = builder.select(higher, score, highest)
            winner = builder.select(higher, _everywhere(builder, builder.add(number, _I32(token))), winner)
        builder.store(highest, score_place, align=4)
        builder.store(winner, winner_place, align=4)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(query, whole, rows, whole, whole, factors, best, winners, whole, codes, whole), generate


def _added(builder: Any, kind: str, total: Any, lanes: Any, token: Any) -> Any:
    """A step of all lanes."""
    if kind == "float32":
        return builder.call(_function(builder, "llvm.fmuladd", total.type, 3), [lanes, token, total])
    if kind == "uint32":
        differing = builder.xor(lanes, token)
        return builder.add(total, builder.call(_function(builder, "llvm.ctpop", _LANES, 1), [differing]))
    pairs = builder.sext(builder.bitcast(token, lanes.type), _WIDE)
    products = builder.mul(builder.sext(lanes, _WIDE), pairs)
    nothing = ir.Constant(_WIDE, ir.Undefined)
    even, odd = (ir.Constant(_LANES, list(range(first, 2 * LANES, 2))) for first in (0, 1))
    both = builder.add(builder.shuffle_vector(products, nothing, even), builder.shuffle_vector(products, nothing, odd))
    return builder.add(total, both)


def _everywhere(builder: Any, value: Any) -> Any:
    """A value in all lanes."""
    kind = ir.VectorType(value.type, LANES)
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, _I32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_LANES, [0] * LANES))


def _load(builder: Any, place: Any, kind: Any) -> Any:
    """What lies at a place; it need not be aligned as a vector of its size would be."""
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=2)


def _function(builder: Any, name: str, kind: Any, count: int) -> Any:
    """An intrinsic of LLVM on vectors of one type."""
    element = "f32" if kind.element == _F32 else "i32"
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * count), f"{name}.v{LANES}{element}"
    )


def _prefetch(builder: Any, place: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [place, _I32(_READ), _I32(_KEEP), _I32(_DATA)])
