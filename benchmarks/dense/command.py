"""The command line: which sizes, which engines, where the results go."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.machine import machine
from common.progress import say

import m3search
from dense.collection import K, collection
from dense.costs import costs
from dense.engines import ENGINES, Engine, Ours
from dense.measurement import measure
from dense.plot import plot
from dense.report import report
from dense.targets import lines
from dense.vectors import DIM

BENCHMARKS = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; results are written after every collection."""
    args = _parsed(arguments)
    if args.costs:
        print(costs(collection(args.cache, args.sizes[0], args.queries)))
        return
    engines: list[Engine] = [ENGINES[name] for name in args.engines]
    engines += [Ours(kind, {name: int(value)}) for kind, name, value in _others(args.also)]
    record: dict[str, Any] = {
        "m3search": m3search.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "plan": {"dim": DIM, "k": K, "passes": args.passes, "seed": args.seed},
        "collections": [],
    }
    for size in args.sizes:
        say(f"{size:,} vectors")
        record["collections"].append(
            measure(collection(args.cache, size, args.queries), engines, args.passes, args.seed, fresh=args.fresh)
        )
        _write(record, args.out, drawn=args.plot)
    print(report(record, lines(record["collections"])))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The dense leg and its peers: recall, times and sizes.")
    parser.add_argument("--quick", action="store_true", help="20,000 vectors and few queries")
    parser.add_argument("--costs", action="store_true", help="only measure what a number, a link and a bit cost")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="numbers of vectors (100000 1000000)")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), metavar="NAME", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--also", nargs="*", default=[], metavar="KIND:OPTION=VALUE", help="ours again, as hnsw:M=32")
    parser.add_argument("--queries", type=int, help="measured (500)")
    parser.add_argument("--passes", type=int, help="over the queries (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of engines and queries (0)")
    parser.add_argument("--fresh", nargs="*", default=[], metavar="NAME", help="engines whose index is built again")
    parser.add_argument("--plot", action=argparse.BooleanOptionalAction, default=True, help="draw the figure")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "dense")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "dense", help="results, without their suffixes"
    )
    args = parser.parse_args(arguments)
    quick = {"sizes": [20_000], "queries": 50, "passes": 2, "engines": ["flat", "m3search hnsw", "m3search ivf"]}
    full = {"sizes": [100_000, 1_000_000], "queries": 500, "passes": 3, "engines": list(ENGINES)}
    for name, value in (quick if args.quick else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _others(settings: Sequence[str]) -> list[tuple[str, str, str]]:
    made = []
    for setting in settings:
        kind, _, option = setting.partition(":")
        name, _, value = option.partition("=")
        made.append((kind, name, value))
    return made


def _write(record: dict[str, Any], out: Path, *, drawn: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(report(record, lines(record["collections"])))
    if drawn:
        try:
            plot(record, out.with_suffix(".svg"))
        except ModuleNotFoundError as error:
            say(f"no plot: {error}")
