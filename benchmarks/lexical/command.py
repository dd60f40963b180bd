"""The command line: which collections, which engines, where the results go."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.machine import machine
from common.progress import say
from common.threads import one_thread

import m3search
from lexical import bm25_texts, generated
from lexical.brief import brief
from lexical.collection import Collection, cached, load
from lexical.engines import OPTIONAL, PEERS, SLOW
from lexical.engines.ours import LEG, Ours
from lexical.measurement import Plan, measure
from lexical.opening import measured
from lexical.plot import plot
from lexical.report import report
from lexical.targets import lines
from lexical.texts import sources

BENCHMARKS = Path(__file__).parent.parent
QUICK_DOCUMENTS, QUICK_QUERIES, QUICK_PASSES = 20_000, 20, 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; results are written after every collection."""
    args = _parsed(arguments)
    one_thread()
    peers = {**PEERS, LEG: Ours(args.segment_size, kept=args.keep)}
    plan = Plan(ks=tuple(args.ks), passes=args.passes, seed=args.seed)
    record: dict[str, Any] = {
        "m3search": m3search.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "plan": {"ks": list(plan.ks), "passes": plan.passes, "queries": args.queries, "seed": plan.seed},
        "collections": {},
    }
    for folder, grown in _folders(args):
        # only ours is timed for its growth: the peers would take more memory than machines have
        names = [name for name in args.engines if name == LEG or not grown]
        collection = load(folder, args.queries, args.tuning)
        result = measure(collection, [peers[name] for name in names], plan, args.cache, fresh=args.fresh)
        if LEG in names:
            result["opening"] = _opening(collection, args.cache)
        result["growth"] = grown
        record["collections"][collection.name] = result
        _write(record, args.out, drawn=args.plot)
    print(report(record, lines(record["collections"])))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The lexical leg and its peers: times, recall and sizes.")
    parser.add_argument("--quick", action="store_true", help="20,000 generated documents and few queries")
    parser.add_argument(
        "--generated", type=int, nargs="*", metavar="N", help="sizes of generated collections (100000 1000000)"
    )
    parser.add_argument(
        "--growth", type=int, metavar="N", help="size of the one that only ours is timed on (5000000; 0: none)"
    )
    parser.add_argument("--texts", type=int, metavar="N", help="how many real short texts, at most (1000000; 0: none)")
    parser.add_argument("--collections", type=Path, help="folder of BEIR folders, for real texts")
    parser.add_argument(
        "--apt-lists", type=Path, default=Path("/var/lib/apt/lists"),
        help="folder of apt's lists, for real texts; apt-get update -o Acquire::Languages=en,de,fr,it,da fetches descriptions",
    )  # fmt: skip
    parser.add_argument("--engines", nargs="+", choices=list(PEERS), metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--queries", type=int, help="measured (300)")
    parser.add_argument("--tuning", type=int, default=100, help="other queries, to tune approximate engines on (100)")
    parser.add_argument("--passes", type=int, help="over the queries (5)")
    parser.add_argument("--ks", type=int, nargs="+", default=[10, 100, 1000], help="result sizes (10 100 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of engines and queries (0)")
    parser.add_argument("--fresh", action="store_true", help="build the peers' indexes again")
    parser.add_argument("--keep", action="store_true", help="open the index of ours that an earlier run has built")
    parser.add_argument(
        "--segment-size", type=int, metavar="N", help="documents of a segment of ours (all, up to 4000000)"
    )
    parser.add_argument("--plot", action=argparse.BooleanOptionalAction, default=True, help="draw the figure")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "lexical")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "lexical", help="results, without their suffixes"
    )
    args = parser.parse_args(arguments)
    quick = {"generated": [QUICK_DOCUMENTS], "growth": 0, "texts": 0, "queries": QUICK_QUERIES, "passes": QUICK_PASSES}
    full = {"generated": [100_000, 1_000_000], "growth": 5_000_000, "texts": 1_000_000, "queries": 300, "passes": 5}
    for name, value in (quick if args.quick else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.engines is None:
        args.engines = [name for name in PEERS if name not in OPTIONAL and not (args.quick and name in SLOW)]
    return args


def _folders(args: argparse.Namespace) -> Iterator[tuple[Path, bool]]:
    """Collections, made where they are not there yet, and whether each is for growth alone."""
    for size in args.generated:
        yield _generated(args, size), False
    if args.texts:
        yield _texts(args), False
    if args.growth:
        yield _generated(args, args.growth), True


def _generated(args: argparse.Namespace, documents: int) -> Path:
    folder = args.cache / f"generated-{documents}"
    return cached(folder, generated.VERSION, lambda path: generated.write(path, documents))


def _texts(args: argparse.Namespace) -> Path:
    folder = args.cache / f"texts-{args.texts}"
    found = sources(args.apt_lists, args.collections)
    return cached(folder, bm25_texts.VERSION, lambda path: bm25_texts.write(path, found, args.texts))


def _opening(collection: Collection, cache: Path) -> dict[str, float]:
    say(f"{collection.name}: fresh processes")
    folder = cache / "indexes" / collection.name / LEG / "index"
    return measured(folder, collection.vocabulary, collection.queries)


def _write(record: dict[str, Any], out: Path, *, drawn: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(report(record, lines(record["collections"])))
    out.with_name(f"{out.stem}-brief.md").write_text(brief(record))
    if drawn:
        try:
            plot(record, out.with_suffix(".svg"))
        except ModuleNotFoundError as error:
            say(f"no plot: {error}")
