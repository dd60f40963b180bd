"""The command line: which collections, how often, where the results go."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import torch
from common.machine import machine
from common.progress import say

import m3search
from m3search import Encoder, retrieval
from m3search.evaluation import load_beir
from rerank.costs import costs
from rerank.encoded import EncodedCollection
from rerank.measurement import Plan, measure
from rerank.quality import build, quality
from rerank.report import report
from rerank.workload import Shape, generated

BENCHMARKS = Path(__file__).parent.parent
QUICK = Shape(documents=200, queries=3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; results are written after every collection."""
    args = _parsed(arguments)
    torch.set_num_threads(1)
    retrieval.warm()
    record = json.loads(args.out.with_suffix(".json").read_text()) if args.ndcg else _measured(args)
    encoder = Encoder.load("mini", threads=1) if record["workloads"].keys() - {"generated"} else None
    for name in args.names if encoder is not None else ():
        data = load_beir(args.collections / name, args.split)
        record["quality"][name] = quality(data, encoder, args.cache / name / "quality")
        _write(record, args.out)
    print(report(record))


def _measured(args: argparse.Namespace) -> dict[str, Any]:
    """Times, overlaps and sizes; and an index of every codec for each collection."""
    plan = Plan(args.passes, args.seed)
    record: dict[str, Any] = {
        "m3search": m3search.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "machine": {**machine(), "torch": torch.__version__, "numba": numba.__version__},
        "passes": plan.passes,
        "seed": plan.seed,
        "workloads": {},
        "quality": {},
        "costs": costs(),
    }
    workload = generated(QUICK if args.quick else Shape(), args.seed)
    record["workloads"]["generated"] = measure(workload, plan, args.cache / "generated")
    _write(record, args.out)
    del workload
    for name in args.names if args.collections is not None else ():
        say(f"{name}: encoding")
        collection = EncodedCollection.of(args.collections / name, args.split)
        record["workloads"][name] = measure(collection.workload(args.candidates), plan, args.cache / name)
        _write(record, args.out)
        build(collection, args.cache / name / "quality")
    return record


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="ColBERT's rerank: times, overlap, nDCG and bytes of the codecs.")
    parser.add_argument("--quick", action="store_true", help="few generated vectors")
    parser.add_argument(
        "--ndcg", action="store_true", help="only measure nDCG again, with the indexes of an earlier run"
    )
    parser.add_argument("--collections", type=Path, help="folder of BEIR folders, for real token vectors and nDCG")
    parser.add_argument("--names", nargs="+", default=["cranfield", "cisi", "cacm", "scifact"], help="of these folders")
    parser.add_argument("--split", default="test", help="which judgements (test)")
    parser.add_argument("--candidates", type=int, default=200, help="passages that a query orders (200)")
    parser.add_argument("--passes", type=int, default=5, help="over the queries (5)")
    parser.add_argument("--seed", type=int, default=0, help="of the vectors and of the order of contestants (0)")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "rerank")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "rerank", help="results, without their suffixes"
    )
    return parser.parse_args(arguments)


def _write(record: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(report(record))
