"""Targets: what the lexical leg was asked to reach, and whether it does.

Invariant: a verdict is given only at the size that the target names; at another size the figure stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lexical.engines.ours import INDEX, LEG

ASKED, GROWN = 1_000_000, 5_000_000

Engines = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A peer's time over ours.

    Attributes:
        peer: an engine.
        kind: of the collection.
        statistic: "median" or "mean".
        floors: for top 10, top 100 and top 1000.
    """

    peer: str
    kind: str
    statistic: str
    floors: tuple[float, float, float]


RATIOS = (
    Ratio("impact-index", "generated", "median", (6, 8, 6)),
    Ratio("impact-index", "texts", "mean", (3, 3, 3)),
    Ratio("seismic at recall 0.98", "generated", "median", (1, 1.5, 3)),
    Ratio("scipy term rows", "generated", "median", (100, 60, 15)),
    Ratio("scipy term rows, tuned", "generated", "median", (100, 60, 15)),
)
GROWTH = (5, 4, 2.5)
KS = (10, 100, 1000)
BYTES_A_POSTING = 4
OPEN_MS = 50
FIRST_MS = 500
BUILD_RATE = 5e6


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: what, where, and for every figure its text with a verdict."""

    what: str
    asked: str
    found: str


def lines(collections: Mapping[str, Any]) -> list[Line]:
    """Every target that these results have a figure for."""
    generated = [one for one in collections.values() if one["about"]["kind"] == "generated"]
    generated.sort(key=lambda one: one["about"]["documents"])
    base = [one for one in generated if not one["growth"]]
    grown = [one for one in generated if one["growth"]]
    texts = [one for one in collections.values() if one["about"]["kind"] == "texts"]
    made: list[Line] = []
    for ratio in RATIOS:
        found = base[-1:] if ratio.kind == "generated" else texts
        made += [line for one in found for line in _ratio(ratio, one)]
    if base and grown:
        made += _growth(base[-1], grown[-1])
    made += _recall(collections)
    if base:
        made += _single(base[-1])
    return made


def _ratio(ratio: Ratio, collection: Mapping[str, Any]) -> list[Line]:
    """One line for the two alone, where they were measured so, and one for them among all."""
    engines: Engines = collection["engines"]
    if LEG not in engines or ratio.peer not in engines:
        return []
    its, ours, ks = engines[ratio.peer], engines[LEG]["k"], [str(k) for k in _ks(engines)]
    times = {}
    if "duel" in its:
        times["the two alone"] = [(its["duel"][k]["its"], its["duel"][k]["ours"]) for k in ks]
    times["among all"] = [(its["k"][k], ours[k]) for k in ks]
    made = []
    for company, pairs in times.items():
        figures = [one[f"{ratio.statistic}_ms"] / other[f"{ratio.statistic}_ms"] for one, other in pairs]
        what = f"{ratio.peer}, {collection['about']['title']}, {ratio.statistic}, {company}: its time / ours"
        made.append(_line(what, ">=", ratio.floors, figures, asked_here=_asked(collection)))
    return made


def _growth(small: Mapping[str, Any], large: Mapping[str, Any]) -> list[Line]:
    if LEG not in small["engines"] or LEG not in large["engines"]:
        return []
    figures = [
        large["engines"][LEG]["k"][str(k)]["median_ms"] / small["engines"][LEG]["k"][str(k)]["median_ms"]
        for k in _ks(large["engines"])
    ]
    what = f"growth, median: our time at {large['about']['documents']:,} / at {small['about']['documents']:,}"
    asked_here = _asked(small) and large["about"]["documents"] >= GROWN
    return [_line(what, "<=", GROWTH, figures, asked_here=asked_here)]


def _recall(collections: Mapping[str, Any]) -> list[Line]:
    values = [
        collection["engines"][engine]["k"][k]["recall"]
        for collection in collections.values()
        for engine in (LEG, INDEX)
        if engine in collection["engines"]
        for k in collection["engines"][engine]["k"]
    ]
    if not values:
        return []
    return [_line("recall, ours, the worst of all collections", ">=", (1.0,), [min(values)], digits=6)]


def _single(collection: Mapping[str, Any]) -> list[Line]:
    engines: Engines = collection["engines"]
    if LEG not in engines:
        return []
    ours, here, title = engines[LEG], _asked(collection), collection["about"]["title"]
    made = []
    if ours["structure_bytes"] is not None:
        figure = ours["structure_bytes"] / collection["postings"]
        made.append(
            _line(
                f"bytes a posting, without the forward store, {title}",
                "<=",
                (BYTES_A_POSTING,),
                [figure],
                asked_here=here,
            )
        )
    rate = ours["build_without_documents_postings_per_second"] or ours["build_postings_per_second"]
    made.append(
        _line(
            f"postings a second at build, documents aside, {title}",
            ">=",
            (BUILD_RATE,),
            [rate],
            asked_here=here,
            digits=0,
        )
    )
    opening = collection.get("opening")
    if opening:
        slower = opening["first_ms"] - opening["second_ms"]
        made += [
            _line(f"opening, ms, {title}", "<=", (OPEN_MS,), [opening["open_ms"]], asked_here=here, digits=1),
            _line(
                f"first query less second, fresh process, ms, {title}",
                "<=",
                (FIRST_MS,),
                [slower],
                asked_here=here,
                digits=1,
            ),
        ]
    return made


def _line(
    what: str, sign: str, limits: Sequence[float], figures: Sequence[float], *, asked_here: bool = True, digits: int = 2
) -> Line:
    holds: Callable[[float, float], bool] = float.__ge__ if sign == ">=" else float.__le__
    texts = []
    for figure, limit in zip(figures, limits, strict=False):
        verdict = ("reached" if holds(float(figure), float(limit)) else "missed") if asked_here else "not its size"
        texts.append(f"{figure:,.{digits}f} ({verdict})")
    return Line(what, " / ".join(f"{sign} {limit:,g}" for limit in limits), " / ".join(texts))


def _ks(engines: Engines) -> list[int]:
    return [k for k in KS if str(k) in engines[LEG]["k"]]


def _asked(collection: Mapping[str, Any]) -> bool:
    """Whether a collection is as large as the targets want; real texts are about as many."""
    documents = collection["about"]["documents"]
    return bool(documents >= (ASKED if collection["about"]["kind"] == "generated" else 0.8 * ASKED))
