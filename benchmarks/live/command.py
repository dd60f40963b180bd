"""The command line: how many documents, where the results go."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.machine import machine
from common.progress import say
from common.threads import one_thread
from filters.collection import generated

import m3search
from live.changes import changes, following
from live.report import report
from live.searches import searches

BENCHMARKS = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all three and writes what was found."""
    args = _parsed(arguments)
    one_thread()
    folder = Path(tempfile.mkdtemp(prefix="live-", dir=args.scratch))
    try:
        record = _measured(folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(report(record))
    print(report(record))


def _measured(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    record: dict[str, Any] = {
        "m3search": m3search.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "documents": args.documents,
        "dim": args.dim,
    }
    say("generating")
    collection = generated(round(args.documents / 0.7) + args.documents // 5, args.dim, args.queries)
    say("searches over one segment, over many, and over deleted documents")
    record["searches"] = searches(collection, args.documents, folder, args.passes)
    say("commits and deletes")
    record["changes"] = changes(collection, args.documents, folder, args.rounds)
    say("a follower in another process")
    record["following"] = following(collection, args.documents, folder, args.rounds)
    return record


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What changing an index costs, and those who search it meanwhile.")
    parser.add_argument("--quick", action="store_true", help="5,000 documents, few rounds")
    parser.add_argument("--documents", type=int, help="in the index (100,000)")
    parser.add_argument("--dim", type=int, help="of the dense vectors (384)")
    parser.add_argument("--queries", type=int, help="(50)")
    parser.add_argument("--passes", type=int, help="over the queries (5)")
    parser.add_argument("--rounds", type=int, help="commits of each size (40)")
    parser.add_argument(
        "--scratch", type=Path, help="folder on the disk that is to be measured (the system's for such)"
    )
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "live", help="results, without their suffixes"
    )
    args = parser.parse_args(arguments)
    quick = {"documents": 5000, "dim": 32, "queries": 5, "passes": 1, "rounds": 3}
    full = {"documents": 100_000, "dim": 384, "queries": 50, "passes": 5, "rounds": 40}
    for name, value in (quick if args.quick else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args
