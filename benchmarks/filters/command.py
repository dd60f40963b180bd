"""The command line: which sizes, where the results go."""

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

import m3search
from filters.collection import generated
from filters.contestants import Contestant, Lance, Ours, Qdrant, build_ours, installed
from filters.measurement import checked, evaluation, times
from filters.report import report

BENCHMARKS = Path(__file__).parent.parent
BLENDS = {
    "dense": {"dense": 1.0},
    "lexical": {"lexical": 1.0},
    "BM25": {"bm25": 1.0},
    "dense and lexical": {"dense": 1.0, "lexical": 0.3},
}
PEERS_UP_TO = 200_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes, after every size; those of an earlier run that are not measured again stay."""
    args = _parsed(arguments)
    one_thread()
    path = args.out.with_suffix(".json")
    earlier = json.loads(path.read_text())["sizes"] if path.is_file() and not args.quick else []
    record: dict[str, Any] = {
        "m3search": m3search.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "sizes": earlier,
    }
    for size in args.sizes:
        documents, dim = map(int, size.split("x"))
        measured = _measured(documents, dim, args)
        kept = [one for one in record["sizes"] if (one["documents"], one["dim"]) != (documents, dim)]
        record["sizes"] = sorted([*kept, measured], key=lambda one: (one["documents"], one["dim"]))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
        args.out.with_suffix(".md").write_text(report(record))
    print(report(record))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Filtered search, ours beside lancedb and qdrant-edge-py.")
    parser.add_argument("--quick", action="store_true", help="5,000 documents, few queries, ours alone")
    parser.add_argument("--sizes", nargs="*", metavar="NxDIM", help="(100000x384 1000000x128)")
    parser.add_argument("--queries", type=int, help="(50)")
    parser.add_argument("--passes", type=int, help="over the queries (2)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of contestants and queries (0)")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "filters", help="results, without their suffixes"
    )
    args = parser.parse_args(arguments)
    quick = {"sizes": ["5000x32"], "queries": 5, "passes": 1}
    full = {"sizes": ["100000x384", "1000000x128"], "queries": 50, "passes": 2}
    for name, value in (quick if args.quick else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _measured(documents: int, dim: int, args: argparse.Namespace) -> dict[str, Any]:
    say(f"{documents:,} documents: generating")
    collection = generated(documents, dim, args.queries)
    folder = Path(tempfile.mkdtemp(prefix="filters-", dir="."))
    width = collection.weights.shape[1]
    contestants: list[Contestant] = []
    versions = {}
    try:
        say("building ours")
        with build_ours(collection, folder / "flat", dense="flat") as flat:
            contestants.append(Ours("m3search, flat", flat, BLENDS["dense"], width, "exhaustive and exact"))
            segments = flat.info()["segments"]
            if documents <= PEERS_UP_TO:
                say("building ours with HNSW")
                hnsw = build_ours(collection, folder / "hnsw", dense="hnsw", threads=1)
                contestants.append(
                    Ours("m3search, HNSW", hnsw, BLENDS["dense"], width, "M 24, efSearch as measured at the build")
                )
            if documents <= PEERS_UP_TO and not args.quick:
                for kind, package in ((Lance, "lancedb"), (Qdrant, "qdrant-edge-py")):
                    versions[package] = installed(package)
                    if versions[package] is None:
                        say(f"{package} is not installed: left out")
                        continue
                    say(f"building {package}")
                    contestants.append(kind(collection, folder / package))
            say("evaluating filters")
            found = {"evaluation": {f"in {segments} segments": evaluation(flat, 20)}}
            say("asking for dense vectors")
            dense = times(contestants, collection, args.passes, args.seed)
            say("asking for blends")
            blends = [Ours(name, flat, weights, width) for name, weights in BLENDS.items()]
            timed = times(blends, collection, args.passes, args.seed)
            say("comparing with brute force")
            held = checked(flat, collection, BLENDS, min(args.queries, 20))
        if segments > 1:
            say("merging to one segment")
            with m3search.Index.open(folder / "flat", mode="w") as index:
                index.merge(documents)
                found["evaluation"]["in one segment"] = evaluation(index, 20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "documents": documents,
        "dim": dim,
        "queries": args.queries,
        "versions": versions,
        "notes": {one.name: one.note for one in contestants},
        "dense": dense,
        "blends": timed,
        "checked": held,
        **found,
    }
