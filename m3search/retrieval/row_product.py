"""RowProduct: the inner product of a query's vector with one stored row, in float64 and in one order on every machine.

Imports numba. It is written in LLVM's own words, because a compiler that may choose the order of a sum may choose another one
wherever the loop is compiled into something else. Invariant: number 32 n + 8 s + l of a row is added to lane l of sum s, what
is left of whole eights to the first sum, and the rest in order; so a product depends on nothing but the two rows.
"""

# ruff: noqa: ANN401, ARG001 - numba's protocol and LLVM's values

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
"""Numbers that are added side by side."""

SUMS = 4
"""As many additions are under way at a time: one takes as long as a processor needs to begin four."""

_I32, _I64, _F32, _F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
_WIDE, _NARROW = ir.VectorType(_F64, LANES), ir.VectorType(_F32, LANES)


@intrinsic
def row_product(typing_context: Any, vector: Any, numbers: Any, start: Any) -> Any:
    """The product, f64, of `vector` f64[d] with `numbers[start : start + d]`, f32; both of one dimension, without gaps."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = context.make_array(signature.args[0])(context, builder, arguments[0])
        narrow = context.make_array(signature.args[1])(context, builder, arguments[1])
        query, row = wide.data, builder.gep(narrow.data, [arguments[2]])
        length = cgutils.unpack_tuple(builder, wide.shape)[0]
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_WIDE, None)) for _ in range(SUMS)]
        rest = cgutils.alloca_once_value(builder, ir.Constant(_F64, 0.0))

        def add_eight(at: Any, total: Any) -> None:
            factors = builder.load(builder.bitcast(builder.gep(query, [at]), _WIDE.as_pointer()), align=8)
            values = builder.load(builder.bitcast(builder.gep(row, [at]), _NARROW.as_pointer()), align=4)
            product = builder.fmul(factors, builder.fpext(values, _WIDE))
            builder.store(builder.fadd(builder.load(total), product), total)

        steps = builder.udiv(length, _I64(LANES * SUMS))
        with cgutils.for_range(builder, steps, intp=_I64) as loop:
            at = builder.mul(loop.index, _I64(LANES * SUMS))
            for number, total in enumerate(sums):
                add_eight(builder.add(at, _I64(LANES * number)), total)
        done = builder.mul(steps, _I64(LANES * SUMS))
        eights = builder.udiv(builder.sub(length, done), _I64(LANES))
        with cgutils.for_range(builder, eights, intp=_I64) as loop:
            add_eight(builder.add(done, builder.mul(loop.index, _I64(LANES))), sums[0])
        done = builder.add(done, builder.mul(eights, _I64(LANES)))
        with cgutils.for_range(builder, builder.sub(length, done), intp=_I64) as loop:
            at = builder.add(done, loop.index)
            value = builder.fpext(builder.load(builder.gep(row, [at]), align=4), _F64)
            product = builder.fmul(builder.load(builder.gep(query, [at]), align=8), value)
            builder.store(builder.fadd(builder.load(rest), product), rest)
        lanes = _in_pairs(builder, [builder.load(total) for total in sums])
        parts = [builder.extract_element(lanes, _I32(lane)) for lane in range(LANES)]
        return builder.fadd(_in_pairs(builder, parts), builder.load(rest))

    return types.float64(vector, numbers, types.int64), generate


def _in_pairs(builder: Any, values: list[Any]) -> Any:
    """Their sum: neighbours first, then neighbouring sums."""
    while len(values) > 1:
        values = [builder.fadd(one, other) for one, other in zip(values[::2], values[1::2], strict=True)]
    return values[0]
