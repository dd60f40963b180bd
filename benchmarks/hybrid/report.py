"""Report: the results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.markdown import ms, table

from hybrid.collection import DENSE, LEXICAL
from hybrid.targets import Line

OVERLAPS = (0.9, 0.95, 0.99, 0.999, 1.0)
_TIMES = ("median_ms", "mean_ms", "p95_ms", "wall_median_ms")


def report(record: Mapping[str, Any], targets: Sequence[Line]) -> str:
    """All tables."""
    versions = {
        row["peer"].split(",")[0]: row["version"] for one in record["collections"] for row in one["engines"].values()
    }
    parts = [
        "# Hybrid search and its peers\n",
        f"The true blend is ({DENSE:g} * dense + {LEXICAL:g} * lexical) / {DENSE + LEXICAL:g} of every document, by brute",
        f"force in f64; overlap is the share of its top {record['k']} that an answer holds, ties at the last rank counted in.",
        "CPU time of a query, all threads: the median of some passes, engines and settings in random order. Ratios hold within",
        "a collection: each was measured in a run of its own, some on other machines.",
        "Every engine was tried with all its settings on other queries; for each overlap the fastest of them was measured.",
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.\n",
    ]
    if targets:
        rows = [(line.what, line.asked, line.found) for line in targets]
        parts += ["## Targets\n", table(("what", "asked", "found"), rows, numbers=())]
    for collection in record["collections"]:
        parts += _collection(collection)
    return "\n".join(parts)


def _collection(collection: Mapping[str, Any]) -> list[str]:
    about, engines, when = collection["about"], collection["engines"], collection["when"]
    machine = when["machine"]
    head = [
        "engine",
        "joins by",
        "best overlap",
        *(f"p50 at {one:g}" for one in OVERLAPS),
        "p50 of best",
        "p95 of best",
    ]
    head += ["memory MB", "of files", "disk MB", "build s"]
    rows = [_row(name, row) for name, row in engines.items()]
    rows += [(name, reason, *[""] * (len(head) - 2)) for name, reason in collection["missing"].items()]
    points = [
        (name, setting, f"{one['overlap']:.4f}", f"{one['worst']:.1f}", *(ms(one[time]) for time in _TIMES))
        for name, row in engines.items()
        for setting, one in row["points"].items()
    ]
    return [
        f"## {about['title'][0].upper()}{about['title'][1:]}\n",
        f"{when['date']}, {machine['cpu']}, {machine['cores']} cores of which one is used; Python {machine['python']};",
        f"{when['passes']} passes.",
        *_sources(about),
        f"{collection['queries']} queries of {collection['query_terms']:.1f} terms, documents of",
        f"{collection['document_terms']:.1f}.",
        f"Of the true top 10 dense alone finds {about['dense alone']:.3f}, lexical alone {about['lexical alone']:.3f}.",
        "Times are CPU ms; memory is what a fresh process takes more after opening and 50 queries than before, and what of it",
        "are pages of files that the system can drop; build is CPU seconds.\n",
        table(head, rows, numbers=range(2, len(head))),
        *_accounts(engines),
        table(
            ("engine", "setting", "overlap@10", "worst query", "p50", "mean", "p95", "wall p50"),
            points,
            numbers=range(2, 8),
        ),
    ]


def _sources(about: Mapping[str, Any]) -> list[str]:
    sources = about.get("sources")
    return [f"Documents of {', '.join(f'{name} ({count:,})' for name, count in sources.items())}."] if sources else []


def _row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    points = list(row["points"].values())
    best = max(points, key=lambda point: (point["overlap"], -point["median_ms"]))
    times = []
    for overlap in OVERLAPS:
        reached = [point["median_ms"] for point in points if point["overlap"] >= overlap]
        times.append(ms(min(reached)) if reached else "-")
    memory = row["memory"]
    size = (_mb(memory["rss"]), _mb(memory["rss"] - memory["anonymous"])) if memory else ("", "")
    figures = (f"{best['overlap']:.4f}", *times, ms(best["median_ms"]), ms(best["p95_ms"]))
    return (name, row["kind"], *figures, *size, _mb(row["bytes"]), f"{row['build_seconds']:,.1f}")


def _accounts(engines: Mapping[str, Any]) -> list[str]:
    """What ours says of its answers."""
    made = []
    for name, row in engines.items():
        for setting, one in row["points"].items():
            if "guarantees" in one:
                shares = ", ".join(f"{guarantee} {share:.1%}" for guarantee, share in one["guarantees"].items())
                steps = ", ".join(f"{step} {value:.3f}" for step, value in one.get("steps_ms", {}).items())
                made.append(f"- {name}, {setting}: {shares}" + (f"; median ms of steps: {steps}" if steps else ""))
    return [*made, ""] if made else []


def _mb(count: float) -> str:
    return f"{count / 1e6:,.0f}"
