"""The report: tables and what was aimed at, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.markdown import ms, table

from live.searches import ONE

MOST = 2.0
"""Times the latency of one merged segment that an index with deleted documents or many segments may take."""


def report(record: Mapping[str, Any]) -> str:
    """The whole page."""
    chip = record["machine"]
    title = f"# A live index of {record['documents']:,} documents, {record['dim']} dimensions\n"
    how = (
        f"m3search {record['m3search']}, {record['date']}, {chip['cpu']}, one thread a process. Generated documents with dense "
        f"vectors, 70 lexical weights and BM25 terms. Made by `python benchmarks/live.py`.\n"
    )
    turns = (
        "Median CPU milliseconds of a search for the best ten; all indexes hold the same number of living documents and "
        "take turns in random order.\n"
    )
    return "\n".join(
        [
            title,
            how,
            "## Changes\n",
            changes_table(record),
            _large(record),
            "## Searches\n",
            turns,
            searches_table(record),
            verdict(record),
            "## Following\n",
            following_text(record),
        ]
    )


def changes_table(record: Mapping[str, Any]) -> str:
    """A row for each size of commit."""
    rows = [
        [what, str(one["times"]), ms(one["ms"]), ms(one["p95_ms"]), ms(one["longest_ms"]), ms(one["cpu_ms"])]
        for what, one in record["changes"].items()
        if "ms" in one
    ]
    head = ["documents in a commit", "times", "median ms until durable", "95%", "longest", "median CPU ms"]
    return table(head, rows, range(1, len(head)))


def _large(record: Mapping[str, Any]) -> str:
    merge, compact = record["changes"]["merge"], record["changes"]["compact"]
    return (
        f"The longest have a merge in them. `merge` of everything then took {merge['seconds']:.1f} s for "
        f"{merge['documents']:,} documents; `compact` {compact['seconds']:.1f} s, and gave "
        f"{(compact['before'] - compact['after']) / 1e6:,.0f} of {compact['before'] / 1e6:,.0f} MB back.\n"
    )


def searches_table(record: Mapping[str, Any]) -> str:
    """A row for each index."""
    found = record["searches"]
    blends = list(found[ONE]["ms"])
    rows = [
        [name, *(f"{ms(one['ms'][blend])} ({one['ms'][blend] / found[ONE]['ms'][blend]:.2f}x)" for blend in blends)]
        for name, one in found.items()
    ]
    return table(["index", *blends], rows, range(1, len(blends) + 1))


def verdict(record: Mapping[str, Any]) -> str:
    """Whether what was aimed at holds."""
    found = record["searches"]
    over = [
        f"{name}, {blend}: {one['ms'][blend] / found[ONE]['ms'][blend]:.2f}x"
        for name, one in found.items()
        for blend in one["ms"]
        if one["ms"][blend] > MOST * found[ONE]["ms"][blend]
    ]
    said = f"missed: {'; '.join(over)}" if over else "met"
    return f"At most {MOST:.0f} times one merged segment: {said}.\n"


def following_text(record: Mapping[str, Any]) -> str:
    """What a follower sees, and when."""
    one = record["following"]
    return (
        f'From `add` returning in one process to an answer with the new document in another that follows (`refresh="auto"`) '
        f"and asks all the time: median {ms(one['ms'])} ms, 95% {ms(one['p95_ms'])} ms, longest {ms(one['longest_ms'])} ms of "
        f"{one['times']} commits; 0 where it answered before `add` had returned. The first search of a new generation took "
        f"{ms(one['first_search_ms'])} ms with opening it, the next one {ms(one['next_search_ms'])} ms.\n"
    )
