"""Report: the results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.markdown import table

from rerank.contestants import EINSUM
from rerank.costs import DOCUMENTS, TOKENS, WIDTHS
from rerank.measurement import TOP
from rerank.quality import DEPTHS, USUAL
from rerank.targets import lines, rows


def report(record: Mapping[str, Any]) -> str:
    """All tables."""
    machine = record["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores of which one is used; Python {machine['python']}, "
    where += f"torch {machine['torch']}, numba {machine['numba']}; {record['date']}."
    how = f"CPU time of a query: the median of {record['passes']} passes, contestants in random order per query. "
    how += f"overlap@{TOP}: how many of the {TOP} best by fp32 are among the {TOP} that were found.\n"
    made = table(("what", "asked", "found"), rows(lines(record)), numbers=())
    parts = ["# ColBERT's rerank: codecs\n", where, how, "## Targets\n", made]
    parts += ["## At a glance\n", glance(record)]
    for name, workload in record["workloads"].items():
        parts += _workload(workload, ordered=name != "generated")
    if record["quality"]:
        parts += ["## nDCG@10\n", ndcg(record)]
    parts += [f"## Disk, {DOCUMENTS:,} documents of {TOKENS} tokens\n", disk(record)]
    return "\n".join(parts)


def glance(record: Mapping[str, Any]) -> str:
    """A row for each contestant: its time on generated vectors, what that is of the einsum's, its overlap on real ones."""
    speed = record["workloads"]["generated"]["contestants"]
    real = {name: one["contestants"] for name, one in record["workloads"].items() if name != "generated"}
    found = []
    for name, row in speed.items():
        times = (f"{row['median_ms']:.1f}", f"{speed[EINSUM]['median_ms'] / row['median_ms']:.1f}x")
        found.append((name, *times, *(f"{one[name][f'overlap@{TOP}']:.4f}" for one in real.values())))
    head = ("", "ms", "faster", *(f"overlap@{TOP}, {name}" for name in real))
    return table(head, found, numbers=range(1, len(head)))


def ndcg(record: Mapping[str, Any]) -> str:
    """A row for each first stage, depth and codec; the last column is the mean of all collections."""
    collections = record["quality"]
    firsts = list(next(iter(collections.values()))["values"])
    found = []
    for first in firsts:
        settings = [("0", first, "-", "-")]
        settings += [(f"bf16/{USUAL}", f"{first} + colbert", "bf16", str(USUAL))]
        settings += [(f"int8/{depth}", f"{first} + colbert", "int8", str(depth)) for depth in DEPTHS]
        settings += [(f"int8+bits/{USUAL}", f"{first} + colbert", "int8+bits", str(USUAL))]
        for key, legs, codec, depth in settings:
            values = [collection["values"][first][key] for collection in collections.values()]
            found.append((legs, codec, depth, *(_share(value) for value in (*values, sum(values) / len(values)))))
    head = ("legs", "codec", "rerank", *collections, "mean")
    return table(head, found, numbers=range(2, len(head)))


def disk(record: Mapping[str, Any]) -> str:
    """GB by encoder and codec."""
    made = record["costs"]
    names = list(next(iter(made.values())))
    found = [(name, *(_gigabytes(made[encoder][name]) for encoder in made)) for name in names]
    head = ("stored", *(f"{encoder}, {WIDTHS[encoder]} dimensions" for encoder in made))
    return table(head, found, numbers=range(1, len(head)))


def _workload(workload: Mapping[str, Any], *, ordered: bool) -> list[str]:
    """Times and bytes, and the overlap where there is an order to find: between random vectors there is none."""
    base = workload["contestants"][EINSUM]["median_ms"]
    found = []
    for name, row in workload["contestants"].items():
        size = workload["bytes"].get(name.split(",", maxsplit=1)[0])
        a_token = "" if size is None else f"{size / workload['tokens']:.1f}"
        overlap = f"{row[f'overlap@{TOP}']:.4f}" if ordered else ""
        times = f"{row['median_ms']:.2f} / {row['mean_ms']:.2f}"
        found.append((name, times, f"{base / row['median_ms']:.2f}x", overlap, a_token))
    what = f"{workload['documents']:,} documents of {workload['tokens'] / workload['documents']:.0f} tokens; "
    what += f"{workload['queries']} queries of {workload['query_tokens']:.1f} tokens, which order "
    what += f"{workload['candidates']:.0f} documents.\n"
    head = ("", "median / mean ms", f"{EINSUM} / it", f"overlap@{TOP}", "bytes a token")
    title = f"## {workload['title'][0].upper()}{workload['title'][1:]}\n"
    return [title, what, table(head, found, numbers=range(1, len(head)))]


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
