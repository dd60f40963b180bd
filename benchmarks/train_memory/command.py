"""The command line, the measurement and its tables."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.machine import machine
from common.markdown import table
from common.memory import free_bytes, readable
from common.progress import say

from train_memory.ways import OURS, WAYS, bytes_of

BENCHMARKS = Path(__file__).parent.parent
QUERIES, QUERY_TOKENS, TOKENS = 64, 32, 512
PASSAGES = (8, 512)
VOCABULARY = 250_002
ROOM = 8 * 10**9
SHARE = 0.6
"""Of the free memory that a way may take."""
LEAST_MEMORY, LEAST_TIME = 50, 20
"""How many times less than [B, V] is aimed at."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, compares what ran, finds the largest batch, writes figures and tables."""
    args = _parsed(arguments)
    vocabulary, room = (5000, ROOM // 50) if args.quick else (VOCABULARY, ROOM)
    free = free_bytes() if args.limit is None else args.limit
    record: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "vocabulary": vocabulary}
    record |= {"queries": QUERIES, "query_tokens": QUERY_TOKENS, "tokens": TOKENS, "room": room}
    with tempfile.TemporaryDirectory() as scratch:
        run = Runs(vocabulary, args.seed, args.passes, Path(scratch))
        record["batches"] = [_batch(run, passages, SHARE * free) for passages in PASSAGES]
        record["largest"] = {way: _largest(run, way, min(room, int(SHARE * free))) for way in WAYS}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(report(record))
    print(report(record))


class Runs:
    """Runs of a way, each in a new process."""

    def __init__(self, vocabulary: int, seed: int, passes: int, scratch: Path) -> None:
        """Remembers what all runs share."""
        self.vocabulary, self._seed, self.passes, self._scratch = vocabulary, seed, passes, scratch

    def once(self, way: str, passages: int) -> dict[str, float]:
        """Bytes and seconds of one run."""
        say(f"{way}: {QUERIES} x {passages:,}")
        numbers = (QUERIES, QUERY_TOKENS, passages, TOKENS, self.vocabulary, self._seed)
        command = [sys.executable, "-m", "train_memory.worker", way, *map(str, numbers), str(self.file(way))]
        done = subprocess.run(command, cwd=BENCHMARKS, check=True, stdout=subprocess.PIPE)
        answer: dict[str, float] = json.loads(done.stdout)
        return answer

    def file(self, way: str) -> Path:
        """Where the last run of a way left scores and gradients."""
        return self._scratch / f"{list(WAYS).index(way)}.npz"


def _batch(run: Runs, passages: int, room: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(run.passes):
        for way in WAYS:
            needed = bytes_of(way, passages + QUERIES * (way != "[B, L, V]"), TOKENS, run.vocabulary)
            if needed is not None and needed > room:
                found[way] = {"bytes": needed, "seconds": None, "computed": True}
                continue
            found.setdefault(way, {"runs": [], "computed": False})["runs"].append(run.once(way, passages))
    for one in found.values():
        if not one["computed"]:
            runs = one.pop("runs")
            one |= {key: statistics.median(each[key] for each in runs) for key in ("bytes", "seconds")}
    differences = {way: _difference(run, way) for way, one in found.items() if not one["computed"] and way != OURS}
    return {"passages": passages, "ways": found, "differences": differences}


def _difference(run: Runs, way: str) -> float:
    """The largest difference of scores and gradients from ours, of the largest value."""
    with np.load(run.file(way), allow_pickle=False) as theirs, np.load(run.file(OURS), allow_pickle=False) as ours:
        return max(float(np.abs(theirs[name] - ours[name]).max() / np.abs(theirs[name]).max()) for name in theirs.files)


def _largest(run: Runs, way: str, room: int) -> dict[str, Any]:
    """The passages that fit, from the slope of two small runs, and then tried."""
    few, more = {"[B, L, V]": (5, 7), "[B, V]": (64, 256), OURS: (1024, 4096)}[way]
    small, large = (run.once(way, passages)["bytes"] for passages in (few, more))
    slope = max(1.0, (large - small) / (more - few))
    computed = int(more + (room - large) / slope)
    tried = max(1, int(0.97 * computed))
    return (
        {"room": room, "computed": computed, "tried": tried, **run.once(way, tried)}
        if computed > 0
        else {"room": room, "computed": 0, "tried": None, "bytes": small, "seconds": None}
    )


def report(record: Mapping[str, Any]) -> str:
    """Tables and targets, as Markdown."""
    lines = [f"# Lexical scores of a training batch: three ways, {record['vocabulary']:,} token ids\n"]
    lines.append(
        f"{record['queries']} queries of {record['query_tokens']} tokens, passages of {record['tokens']} tokens; forward and "
        "backward, fp32. Peak memory beyond the inputs, and CPU time; medians; each way in a process of its own, one thread. "
        "(computed): does not fit, the size is that of its largest tensor and the tensor's gradient.\n"
    )
    batches = record["batches"]
    head = ["", *(f"{one['passages']} passages" for one in batches)]
    rows = [[way, *(_cell(one["ways"][way]) for one in batches)] for way in WAYS]
    lines.append(table(head, rows, range(1, len(head))))
    worst = max(value for one in batches for value in one["differences"].values())
    lines.append(f"Scores and gradients of all ways that ran differ by at most {worst:.1e} of the largest.\n")
    last = batches[-1]["ways"]
    memory = last["[B, V]"]["bytes"] / max(last[OURS]["bytes"], 1)
    targets = [[f"memory: 1/{LEAST_MEMORY} of [B, V]", f"1/{memory:,.0f}", "yes" if memory >= LEAST_MEMORY else "no"]]
    if last["[B, V]"]["seconds"] is not None:
        faster = last["[B, V]"]["seconds"] / last[OURS]["seconds"]
        targets.append([f"time: {LEAST_TIME}x faster", f"{faster:,.0f}x", "yes" if faster >= LEAST_TIME else "no"])
    lines.append(table(["target", "found", "holds"], targets, [1]))
    room = record["largest"][OURS]["room"] / 1e9
    lines.append(
        f"The largest batch in {room:.1f} GB, computed from the growth of two small ones, and 97% of it tried:\n"
    )
    rows = []
    for way, one in record["largest"].items():
        tried = (
            "-" if one["tried"] is None else f"{one['tried']:,}: {one['bytes'] / 1e9:.1f} GB, {one['seconds']:.1f} s"
        )
        rows.append([way, f"{one['computed']:,}", tried])
    lines.append(table(["", "passages that fit", "tried"], rows, [1, 2]))
    return "\n".join(lines)


def _cell(found: Mapping[str, Any]) -> str:
    text = readable(found["bytes"])
    return f"{text} (computed)" if found["computed"] else f"{text}, {found['seconds']:,.3f} s"


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and time of three ways to score a training batch lexically.")
    parser.add_argument("--quick", action="store_true", help="a small vocabulary")
    parser.add_argument("--passes", type=int, default=3, help="each in a new process (3)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and ids (0)")
    parser.add_argument("--limit", type=int, help="bytes of memory to count on (what is free)")
    parser.add_argument("--out", type=Path, default=BENCHMARKS / "results" / "train-memory", help="without suffixes")
    return parser.parse_args(arguments)
