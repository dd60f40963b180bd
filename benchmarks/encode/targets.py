"""Targets: what the encoder was asked to reach, and whether it does.

Invariant: a verdict is given only at the shape that the target names; at another the figure stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encode.contestants import FLAG, ONNX, OURS

FULL, SMALL_SHAPE = "24x1024", "2x64"
FP32, BF16, INT8 = OURS


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: what, asked, and the figure with its verdict."""

    what: str
    asked: str
    found: str


def lines(record: Mapping[str, Any]) -> list[Line]:
    """Every target that these results have a figure for."""
    made: list[Line] = []
    for table in record.get("throughput", []):
        made += _against_flag(table) + _against_onnx(table)
    for table in record.get("latency", []):
        for name in (FP32, BF16):
            ratio = table["seconds"][name] / table["seconds"][FLAG]
            asked = table["model"] in {"mini", FULL}
            made.append(_line(f"{name}: one query / {FLAG}'s ({table['model']})", "<=", 0.55, ratio, 2, asked))
    if lexical := record.get("lexical"):
        ratio = lexical["seconds"][FLAG] / lexical["seconds"]["m3search"]
        made.append(_line(f"lexical output of 32 x 512 tokens: time of {FLAG}'s loop / ours", ">=", 2.0, ratio))
        made.append(_line("the same: peak extra memory, MB", "<=", 1.0, lexical["extra_bytes"] / 1e6))
    if memory := record.get("memory"):
        ratio = memory["bytes"][FP32] / memory["bytes"][FLAG]
        what = f"{memory['texts']:,} texts of {memory['tokens']} tokens, all outputs: memory / {FLAG}'s ({memory['shape']})"
        made.append(_line(what, "<=", 0.25, ratio, 3, memory["texts"] == 10_000))
    if long := record.get("long"):
        held, asked = long["contestants"][FP32]["resident"] / 1e9, long["shape"] == FULL
        what = f"{FP32}: a text of {long['tokens']:,} tokens in one piece, GB with the model ({long['shape']})"
        made.append(_line(what, "<=", 4.0, held, 2, asked))
    return made


def _against_flag(table: Mapping[str, Any]) -> list[Line]:
    rows = table["contestants"]
    if FLAG not in rows:
        return []
    at, asked = f"{table['shape']}, {table['texts']} texts", table["shape"] == FULL
    made = []
    for name, floor in ((BF16, 4.0), (FP32, 2.0)):
        ratio = rows[name]["tokens_per_second"] / rows[FLAG]["tokens_per_second"]
        made.append(_line(f"{name}: tokens per CPU second / {FLAG}'s ({at})", ">=", floor, ratio, 2, asked))
    value = rows[BF16]["correlation"]
    made.append(_line(f"{BF16}: correlation of similarities with {FLAG}'s ({at})", ">=", 0.999, value, 5, asked))
    value = rows[FP32]["largest_difference"]
    made.append(_line(f"{FP32}: largest difference from {FLAG}'s vectors ({at})", "<=", 1e-5, value, 7, asked))
    return made


def _against_onnx(table: Mapping[str, Any]) -> list[Line]:
    rows = table["contestants"]
    if ONNX not in rows:
        return []
    ours, theirs = rows[INT8], rows[ONNX]
    at = f"{table['shape']}, {table['texts']} texts"
    ratio = ours["tokens_per_second"] / theirs["tokens_per_second"]
    apart = (1 - ours["correlation"]) / (1 - theirs["correlation"])
    asked = table["shape"] != SMALL_SHAPE
    return [
        _line(f"{INT8}: tokens per CPU second / {ONNX}'s ({at})", ">=", 1.0, ratio, 2, asked),
        _line(f"{INT8}: 1 - correlation / {ONNX}'s ({at})", "<=", 1.0, apart, 2, asked),
    ]


def _line(what: str, sign: str, limit: float, figure: float, digits: int = 2, asked_here: bool = True) -> Line:
    reached = figure >= limit if sign == ">=" else figure <= limit
    verdict = ("reached" if reached else "missed") if asked_here else "not its shape"
    return Line(what, f"{sign} {limit:g}", f"{_cut(figure, digits, sign)} ({verdict})")


def _cut(figure: float, digits: int, sign: str) -> str:
    """Rounded to the side that claims less."""
    scale = 10**digits
    whole = int(figure * scale) if sign == ">=" else -int(-figure * scale // 1)
    return f"{whole / scale:.{digits}f}"
