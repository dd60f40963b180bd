"""Report: the results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.markdown import ms, table

from lexical.engines.ours import LEG
from lexical.targets import Line
from lexical.texts import DEBIAN


def report(record: Mapping[str, Any], lines: Sequence[Line]) -> str:
    """All tables."""
    machine, plan = record["machine"], record["plan"]
    parts = [
        "# The lexical leg and its peers\n",
        f"{machine['cpu']}, {machine['cores']} cores of which one is used; Python {machine['python']}; {record['date']}.",
        f"CPU time of a query: the median of {plan['passes']} passes, engines in random order per query.",
        "Where all take turns each finds the caches emptied by the others; so every peer was timed once more with ours alone.",
        f"{_versions(record['collections'].values())}.\n",
    ]
    if lines:
        rows = [(line.what, line.asked, line.found) for line in lines]
        parts += ["## Targets\n", table(("what", "asked", "found"), rows, numbers=())]
    for collection in record["collections"].values():
        parts += _collection(collection)
    return "\n".join(parts)


def _versions(collections: Iterable[Mapping[str, Any]]) -> str:
    found = {row["peer"]: row["version"] for collection in collections for row in collection["engines"].values()}
    return ", ".join(f"{peer} {version}" for peer, version in found.items())


def _collection(collection: Mapping[str, Any]) -> list[str]:
    engines = collection["engines"]
    ks = list(next(iter(engines.values()))["k"]) if engines else []
    head = ["engine", *(f"top {k}: median / mean ms" for k in ks), f"recall@{', '.join(ks)}"]
    head += ["index MB", "bytes a posting", "build, M postings/s"]
    rows = [_row(name, row, ks, collection["postings"]) for name, row in engines.items()]
    rows += [(name, reason, *[""] * (len(head) - 2)) for name, reason in collection["missing"].items()]
    parts = [
        f"## {collection['about']['title'].capitalize()}\n",
        f"{_counts(collection)}{_sources(collection['about'])}\n",
        table(head, rows, numbers=range(1, len(head))),
    ]
    if LEG in engines and len(engines) > 1:
        ours = engines[LEG]["k"]
        ratios = [(name, *_ratios(row["k"], ours)) for name, row in engines.items() if name != LEG]
        head = [f"its time / {LEG}'s: median, mean", *(f"top {k}" for k in ks)]
        parts.append(table(head, ratios, numbers=range(1, len(head))))
    if duels := {name: row["duel"] for name, row in engines.items() if "duel" in row}:
        rows = [(name, *_duel(one.values())) for name, one in duels.items()]
        parts.append(
            table((f"it and {LEG} alone: median ms of both, ratio", *(f"top {k}" for k in ks)), rows, (1, 2, 3))
        )
    opening = collection.get("opening")
    if opening:
        open_ms, first_ms, second_ms = (f"{opening[name]:.1f} ms" for name in ("open_ms", "first_ms", "second_ms"))
        parts.append(
            f"A fresh process: {open_ms} to open, {first_ms} for the first query, {second_ms} for the second.\n"
        )
    return parts


def _counts(collection: Mapping[str, Any]) -> str:
    documents = f"{collection['postings']:,} postings of {collection['terms']:,} terms"
    return f"{documents}; {collection['queries']} queries of {collection['query_terms']:.1f} terms."


def _sources(about: Mapping[str, Any]) -> str:
    if "sources" not in about:
        return ""
    lists = {name: count for name, count in about["sources"].items() if name.startswith(f"{DEBIAN} ")}
    named = [f"{name} ({count:,})" for name, count in about["sources"].items() if name not in lists]
    if lists:
        named.insert(0, f"Debian's package descriptions ({sum(lists.values()):,} in {len(lists)} lists)")
    return f" Titles and sentences of {', '.join(named)}; BM25 weights."


def _row(name: str, row: Mapping[str, Any], ks: Sequence[str], postings: int) -> tuple[str, ...]:
    times = (f"{ms(row['k'][k]['median_ms'])} / {ms(row['k'][k]['mean_ms'])}" for k in ks)
    recalls = ", ".join(_recall(row["k"][k]["recall"]) for k in ks)
    if row["bytes"] is None:
        return (name, *times, recalls, "-", "-", "-")
    size, share = f"{row['bytes'] / 1e6:,.0f}", f"{row['bytes'] / postings:.2f}"
    if row["structure_bytes"] is not None:
        size += f" ({row['structure_bytes'] / 1e6:,.0f} + forward)"
        share += f" ({row['structure_bytes'] / postings:.2f})"
    rate = f"{row['build_postings_per_second'] / 1e6:.2f}"
    aside = row["build_without_documents_postings_per_second"]
    if aside is not None:
        rate += f" ({aside / 1e6:.2f} documents aside)"
    return (name, *times, recalls, size, share, rate)


def _ratios(its: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterable[str]:
    for k, mine in ours.items():
        yield ", ".join(f"{its[k][one] / mine[one]:.2f}" for one in ("median_ms", "mean_ms"))


def _duel(pairs: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for one in pairs:
        its, mine = one["its"]["median_ms"], one["ours"]["median_ms"]
        yield f"{ms(its)} / {ms(mine)} = {its / mine:.2f}"


def _recall(value: float) -> str:
    """Cut, not rounded: 1.0000 says that nothing is missing."""
    return f"{int(value * 10_000) / 10_000:.4f}"
