"""The command line, the measurement and its table."""

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
from common.memory import free_bytes, readable

from sparse_memory.plot import plot
from sparse_memory.ways import DICTS, WAYS, bytes_of

BENCHMARKS = Path(__file__).parent.parent
BATCHES = ((10, 512), (32, 512), (4, 8192))
VOCABULARY = 250_002
SHARE = 0.6
"""Of the free memory that a way may take."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every way at every batch, sees that the weights are equal, writes table, figures and plot."""
    args = _parsed(arguments)
    vocabulary = 5000 if args.quick else VOCABULARY
    free = free_bytes() if args.limit is None else args.limit
    record: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "vocabulary": vocabulary, "batches": []}
    for texts, tokens in BATCHES[: args.batches]:
        record["batches"].append(_batch(texts, tokens, vocabulary, SHARE * free, args))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(report(record))
    plot(record, args.out.with_suffix(".svg"))
    print(report(record))


def _batch(texts: int, tokens: int, vocabulary: int, room: float, args: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    matrices: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for way in WAYS:
            needed = bytes_of(way, texts, tokens, vocabulary)
            if needed is not None and needed > room:
                found[way] = {"bytes": needed, "seconds": None, "computed": True}
                continue
            runs = [_run(way, texts, tokens, vocabulary, args.seed, Path(scratch)) for _ in range(args.passes)]
            found[way] = {key: statistics.median(run[key] for run in runs) for key in ("bytes", "seconds")}
            found[way]["computed"] = False
            with np.load(Path(scratch) / "weights.npz", allow_pickle=False) as file:
                matrices[way] = dict(file)
    for way, arrays in matrices.items():
        if any(not np.array_equal(arrays[name], matrices[DICTS][name]) for name in arrays):
            raise SystemExit(f"the weights of {way} are not those of the others at {texts} x {tokens}")
    return {"texts": texts, "tokens": tokens, "ways": found, "equal": sorted(matrices)}


def _run(way: str, texts: int, tokens: int, vocabulary: int, seed: int, scratch: Path) -> dict[str, float]:
    print(f"{way}: {texts} x {tokens}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "sparse_memory.worker", way, *map(str, (texts, tokens, vocabulary, seed))]
    run = subprocess.run([*command, str(scratch / "weights.npz")], cwd=BENCHMARKS, check=True, stdout=subprocess.PIPE)
    answer: dict[str, float] = json.loads(run.stdout)
    return answer


def report(record: Mapping[str, Any]) -> str:
    """The table, as Markdown."""
    title = f"# Lexical output: memory and time of four ways, {record['vocabulary']:,} token ids\n"
    how = (
        "Peak memory beyond the inputs, fp32, and CPU time of one call, medians; each way in a process of its own, one "
    )
    how += "thread. (computed): does not fit, the size is that of its one large tensor. Where ways ran, their weights "
    how += "are equal to the last bit.\n"
    return "\n".join([title, how, table(record)])


def table(record: Mapping[str, Any]) -> str:
    """A row for each way, two columns for each batch."""
    batches = record["batches"]
    head = ["", *(f"{one['texts']} x {one['tokens']}" for one in batches)]
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * len(batches)}|"]
    for way in batches[0]["ways"]:
        cells = [_cell(one["ways"][way]) for one in batches]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(found: Mapping[str, Any]) -> str:
    text = readable(found["bytes"])
    return f"{text} (computed)" if found["computed"] else f"{text}, {1000 * found['seconds']:,.1f} ms"


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and time of four ways to make M3's lexical output.")
    parser.add_argument("--quick", action="store_true", help="a small vocabulary")
    parser.add_argument("--passes", type=int, default=3, help="each in a new process (3)")
    parser.add_argument("--batches", type=int, default=len(BATCHES), help="how many of the three sizes (all)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and ids (0)")
    parser.add_argument("--limit", type=int, help="bytes of memory to count on (what is free)")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "sparse-memory", help="results, without their suffixes"
    )
    return parser.parse_args(arguments)
