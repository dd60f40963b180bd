"""The command line: which collections, which engines, where the results go."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common.machine import machine
from common.progress import say
from common.threads import one_thread

import m3search
from hybrid import encoded, truth, world
from hybrid.brief import brief
from hybrid.collection import K, load
from hybrid.engines import LARGE, OPTIONAL, PEERS, QUICK
from hybrid.measurement import Plan, measure
from hybrid.plot import plot
from hybrid.report import report
from hybrid.targets import lines

BENCHMARKS = Path(__file__).parent.parent
SIZES = ("100000x384", "100000x1024", "1000000x384")
REAL = 50_000
FEW = 200_000
"""Larger collections are asked only of those that are named, or of `LARGE`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes, after every collection; those of an earlier run that are not measured again stay."""
    args = _parsed(arguments)
    one_thread()
    plan = Plan(args.passes, args.seed, args.memory)
    record: dict[str, Any] = {
        "m3search": m3search.__version__,
        "k": K,
        "collections": [] if args.quick else _earlier(args.out),
    }
    for folder in _folders(args):
        collection = load(folder, args.queries, args.tuning)
        names = args.engines or ([*QUICK] if args.quick else [name for name in PEERS if name not in OPTIONAL])
        if len(collection) > FEW and not args.engines:
            names = [name for name in names if name in LARGE]
        for name in names:
            PEERS[name].kept = PEERS[name].kept or args.keep
        measured = measure(collection, [PEERS[name] for name in names], plan, fresh=args.fresh)
        measured["when"] = {
            "date": time.strftime("%Y-%m-%d"), "machine": machine(), "passes": plan.passes, "seed": plan.seed,
        }  # fmt: skip
        kept = [one for one in record["collections"] if one["name"] != measured["name"]]
        record["collections"] = sorted([*kept, measured], key=lambda one: _rank(one["name"]))
        _write(record, args.out, drawn=args.plot)
    print(report(record, lines(record["collections"])))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Hybrid search and its peers: overlap with the true blend, times, sizes."
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"5,000 generated documents, few queries, {', '.join(QUICK)}"
    )
    parser.add_argument("--sizes", nargs="*", metavar="NxDIM", help=f"generated collections ({' '.join(SIZES)})")
    parser.add_argument("--real", type=int, metavar="N", help=f"how many real short texts, at most ({REAL}; 0: none)")
    parser.add_argument("--collections", type=Path, help="folder of BEIR folders, for real texts")
    parser.add_argument(
        "--apt-lists", type=Path, default=Path("/var/lib/apt/lists"),
        help="folder of apt's lists, for real texts; apt-get update -o Acquire::Languages=en fetches descriptions",
    )  # fmt: skip
    parser.add_argument("--engines", nargs="+", choices=list(PEERS), metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--queries", type=int, help="measured (300)")
    parser.add_argument("--tuning", type=int, help="other queries, to choose settings by (200)")
    parser.add_argument("--passes", type=int, help="over the queries (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of engines and queries (0)")
    parser.add_argument("--fresh", nargs="*", default=[], metavar="NAME", help="engines whose index is built again")
    parser.add_argument("--keep", action="store_true", help="open the indexes of ours that an earlier run has built")
    parser.add_argument(
        "--memory", action=argparse.BooleanOptionalAction, help="measure memory, in processes of their own"
    )
    parser.add_argument("--plot", action=argparse.BooleanOptionalAction, default=True, help="draw the figure")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "hybrid")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "hybrid", help="results, without their suffixes"
    )
    args = parser.parse_args(arguments)
    quick = {"sizes": ["5000x64"], "real": 0, "queries": 30, "tuning": 10, "passes": 2, "memory": False}
    full = {"sizes": list(SIZES), "real": REAL, "queries": 300, "tuning": 200, "passes": 3, "memory": True}
    for name, value in (quick if args.quick else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for size in args.sizes:
        _size(size, parser)
    return args


def _size(text: str, parser: argparse.ArgumentParser) -> None:
    documents, _, dim = text.partition("x")
    if not (documents.isdigit() and dim.isdigit() and int(documents) >= K and int(dim)):
        parser.error(f"{text!r} is no size: give documents (from {K}) and width, such as {SIZES[0]}")


def _folders(args: argparse.Namespace) -> Iterator[Path]:
    """Collections, made where they are not there yet."""
    for size in args.sizes:
        documents, dim = map(int, size.split("x"))
        yield _made(
            args.cache / f"generated-{size}",
            world.VERSION,
            lambda folder, documents=documents, dim=dim: world.write(folder, documents, dim),
        )
    if args.real:
        yield _made(
            args.cache / f"texts-{args.real}",
            encoded.VERSION,
            lambda folder: encoded.write(folder, args.apt_lists, args.collections, args.real),
        )


def _made(folder: Path, version: int, make: Callable[[Path], dict[str, Any]]) -> Path:
    """The folder of a collection with its truth; made where it is not there whole or of another version."""
    path = folder / "about.json"
    if not path.is_file() or json.loads(path.read_text())["version"] != version:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        say(f"{folder.name}: making it")
        about = {"version": version, **make(folder)}
        path.write_text(json.dumps(about, indent=1) + "\n")  # last: it says that the rest is there
    truth.write(folder)
    return folder


def _earlier(out: Path) -> list[dict[str, Any]]:
    """Collections that were measured before."""
    path = out.with_suffix(".json")
    return json.loads(path.read_text())["collections"] if path.is_file() else []


def _rank(name: str) -> tuple[int, str]:
    """Generated ones first, in the order of `SIZES`."""
    return next((place for place, size in enumerate(SIZES) if name.endswith(size)), len(SIZES)), name


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
