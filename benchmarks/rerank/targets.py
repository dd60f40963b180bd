"""Targets: what the rerank was asked to reach, and whether it does.

Invariant: a verdict on speed is given only at the shape that the target names; at another the figure stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerank.contestants import EINSUM, TWO_STAGES
from rerank.measurement import TOP

SHAPE = {"dim": 1024, "candidates": 200, "candidate_tokens": 200 * 80, "query_tokens": 32}
SPEED = {"int8": 4.0, TWO_STAGES: 8.0}
OVERLAP = 0.99
BYTES = {"int8": 0.51, "int8+bits": 0.58}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: what, where, and the figure with its verdict."""

    what: str
    asked: str
    found: str


def lines(record: Mapping[str, Any]) -> list[Line]:
    """Every target that these results have a figure for."""
    made: list[Line] = []
    generated = record["workloads"].get("generated")
    if generated is not None:
        here = all(generated[name] == value for name, value in SHAPE.items())
        times = {name: row["median_ms"] for name, row in generated["contestants"].items()}
        for name, floor in SPEED.items():
            what = f"{name}: time of {EINSUM} / its time"
            made.append(_line(what, ">=", floor, times[EINSUM] / times[name], asked_here=here))
    real = [workload for name, workload in record["workloads"].items() if name != "generated"]
    if real:
        for name in SPEED:
            worst = min(workload["contestants"][name][f"overlap@{TOP}"] for workload in real)
            made.append(
                _line(f"{name}: overlap@{TOP} with fp32, real texts, the worst collection", ">=", OVERLAP, worst, 4)
            )
    for codec, limit in BYTES.items():
        shares = [
            workload["bytes"][codec] / (2 * workload["dim"] * workload["tokens"])
            for workload in record["workloads"].values()
        ]
        if shares:
            made.append(
                _line(f"{codec}: bytes a token / fp16's, files as they are, the worst", "<=", limit, max(shares), 4)
            )
    return made


def _line(what: str, sign: str, limit: float, figure: float, digits: int = 2, *, asked_here: bool = True) -> Line:
    holds: Callable[[float, float], bool] = float.__ge__ if sign == ">=" else float.__le__
    verdict = ("reached" if holds(float(figure), float(limit)) else "missed") if asked_here else "not its shape"
    return Line(what, f"{sign} {limit:g}", f"{_cut(figure, digits, sign)} ({verdict})")


def _cut(figure: float, digits: int, sign: str) -> str:
    """Rounded to the side that claims less."""
    scale = 10**digits
    whole = int(figure * scale) if sign == ">=" else -int(-figure * scale // 1)
    return f"{whole / scale:.{digits}f}"


def rows(made: Sequence[Line]) -> list[tuple[str, str, str]]:
    """As cells."""
    return [(line.what, line.asked, line.found) for line in made]
