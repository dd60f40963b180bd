"""Report: the results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.markdown import ms, table

from dense.targets import FLAT, RECALLS, Line, latency


def report(record: Mapping[str, Any], targets: Sequence[Line]) -> str:
    """All tables."""
    machine, plan = record["machine"], record["plan"]
    versions = {
        name.split()[0]: row["version"] for one in record["collections"] for name, row in one["engines"].items()
    }
    parts = [
        "# The dense leg and its peers\n",
        f"{machine['cpu']}, {machine['cores']} cores of which one is used; Python {machine['python']}; {record['date']}.",
        f"Generated unit vectors of {plan['dim']} dimensions in clusters (`benchmarks/dense/vectors.py`), top {plan['k']}.",
        f"CPU time of a query: the median of {plan['passes']} passes, engines and efforts in random order per query.",
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; flat is faiss-cpu's.\n",
    ]
    if targets:
        rows = [(line.what, line.asked, line.found) for line in targets]
        parts += ["## Targets\n", table(("what", "asked", "found"), rows, numbers=())]
    for collection in record["collections"]:
        parts += _collection(collection, plan)
    return "\n".join(parts)


def _collection(collection: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    engines = collection["engines"]
    vectors = 4 * plan["dim"] * collection["passages"] / 1e6
    head = ["engine", *(f"ms at recall {recall}" for recall in RECALLS), "index MB", "of hnswlib's", "build, CPU s"]
    its = next((row["bytes"] for name, row in engines.items() if name.startswith("hnswlib")), None)
    rows = [_row(name, row, its) for name, row in engines.items()]
    rows += [(name, reason, *[""] * (len(head) - 2)) for name, reason in collection["missing"].items()]
    efforts = [
        (name, effort, f"{one['recall']:.4f}", *(ms(one[f"{kind}_ms"]) for kind in ("median", "mean", "p95")))
        for name, row in engines.items()
        for effort, one in row["efforts"].items()
    ]
    return [
        f"## {collection['passages']:,} vectors\n",
        f"{collection['queries']} queries. The vectors alone are {vectors:,.0f} MB. hnswlib's and usearch's indexes hold them,",
        "usearch i8's as bytes. m3search's hold bytes too, and what they propose is scored from the stored vectors: the same",
        f"{vectors:,.0f} MB again, mapped, of which a query reads a few rows.\n",
        table(head, rows, numbers=range(1, len(head))),
        *_notes(engines),
        table(("engine", "effort", "recall@10", "median ms", "mean ms", "p95 ms"), efforts, numbers=range(1, 6)),
    ]


def _notes(engines: Mapping[str, Any]) -> list[str]:
    """What m3search measured at the build, and how long an opening takes."""
    made = []
    for name, row in engines.items():
        notes = row["notes"]
        if notes:
            made.append(
                f"{name}: by itself effort {notes['indexes'][0]['effort']}, recall {notes['recall@10']:.3f} of the best 10 "
                f"and {notes['recall@100']:.3f} of the best 100, measured at the build; opened in "
                f"{notes['open_seconds']:.2f} s, every byte of the index compared with its checksum.\n"
            )
    return made


def _row(name: str, row: Mapping[str, Any], hnswlib: int | None) -> tuple[str, ...]:
    times = [latency(row, recall) for recall in RECALLS]
    share = "" if hnswlib is None else f"{row['bytes'] / hnswlib:.2f}"
    build = "" if name == FLAT else f"{row['build_seconds']:,.0f}"
    return (name, *("-" if one is None else ms(one) for one in times), f"{row['bytes'] / 1e6:,.0f}", share, build)
