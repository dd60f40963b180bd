"""The command line: which collections, which blends; what was found, as a table."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.indexes import kept_index
from common.markdown import table as markdown
from common.progress import say
from numpy.typing import NDArray

import m3search
from exact.brute_force import BruteForce
from m3search import Encoder, Hits, Index
from m3search.evaluation import load_beir

BENCHMARKS = Path(__file__).parent.parent
PRESETS = ("m3", "m3-long", "m3-readme")
RANDOM_BLENDS, KS, WITHIN = 20, (10, 100), 1e-9
SEGMENT_SIZE = 10_000
_BATCH = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds, compares and writes; results are written after every collection."""
    parser = argparse.ArgumentParser(description="Certified answers against brute force on every query.")
    parser.add_argument("--collections", type=Path, required=True, help="folder of BEIR folders")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of these folders (all)")
    parser.add_argument("--queries", type=int, help="of each, at most (all)")
    parser.add_argument("--encoder", default="mini", help="mini, a folder, or a hub name (mini)")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (0)")
    parser.add_argument("--fresh", action="store_true", help="build the indexes again")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "exact")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "exact", help="results, without their suffixes"
    )
    args = parser.parse_args(arguments)
    names = args.names or sorted(path.name for path in args.collections.iterdir() if (path / "corpus.jsonl").exists())
    about = {
        "m3search": m3search.__version__,
        "encoder": str(args.encoder),
        "blends": {name: str(weights) for name, weights in blends(args.seed).items()},
        "within": WITHIN,
    }
    record: dict[str, Any] = {**about, "collections": _earlier(args.out.with_suffix(".json"), about)}
    encoder = Encoder.load(args.encoder)
    for name in names:
        folder = args.collections / name
        kept = {"segment_size": SEGMENT_SIZE, "on_error": "skip"}
        with kept_index(folder, args.cache / name, encoder=encoder, fresh=args.fresh, **kept) as index:
            record["collections"].pop(name, None)
            record["collections"][name] = {"date": time.strftime("%Y-%m-%d")} | compared(
                index, queries_of(folder)[: args.queries], encoder, args.seed
            )
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
        args.out.with_suffix(".md").write_text(table(record))
    print(table(record))
    if any(found["differing"] for found in record["collections"].values()):
        sys.exit(1)


def _earlier(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run found of other collections, if it compared the same."""
    if not path.exists():
        return {}
    earlier: dict[str, Any] = json.loads(path.read_text())
    return earlier["collections"] if {name: earlier.get(name) for name in about} == about else {}


def blends(seed: int) -> dict[str, str | dict[str, float]]:
    """Name -> weights: the presets, and random ones of one leg or more."""
    rng = np.random.default_rng(seed)
    made: dict[str, str | dict[str, float]] = {name: name for name in PRESETS}
    for number in range(RANDOM_BLENDS):
        legs = [leg for leg in ("dense", "lexical", "bm25") if rng.random() < 0.75] or ["dense"]
        made[f"random {number + 1}"] = {leg: round(float(rng.uniform(0.05, 2)), 3) for leg in legs}
    return made


def queries_of(folder: Path) -> list[str]:
    """All queries that any split judges, once each."""
    found: dict[str, str] = {}
    for qrels in sorted((folder / "qrels").glob("*.tsv")):
        found |= load_beir(folder, qrels.stem).queries
    return list(found.values())


def compared(index: Index, queries: Sequence[str], encoder: Encoder, seed: int) -> dict[str, Any]:
    """Every query, every blend, every k: what differs, what was proven, and how deep the legs had to look."""
    oracle, info = BruteForce(index), index.info()
    guarantees: dict[int, Counter[str]] = {k: Counter() for k in KS}
    depths: dict[int, list[int]] = {k: [] for k in KS}
    differing: list[str] = []
    for start in range(0, len(queries), _BATCH):
        say(f"{index.path.name}: {start:,} of {len(queries):,} queries")
        some = queries[start : start + _BATCH]
        encoded = encoder.encode(some, query=True)
        for row, text in enumerate(some):
            query = encoded.rows(row, row + 1)
            parts = oracle.parts(text, query)
            for name, weights in blends(seed).items():
                answers = {k: index.search(text, k, weights=weights, encodings=query) for k in KS}
                truth = oracle.documents(parts, answers[KS[0]].statistics["legs"])
                for k, hits in answers.items():
                    guarantees[k][hits.guarantee] += 1
                    depths[k].append(hits.statistics["depth"])
                    if not equal(hits, oracle, truth, k):
                        differing.append(f"{name}, top {k}: {text}")
    return {
        "documents": len(oracle.ids),
        "passages": len(oracle.dense),
        "segments": len(info["segments"]) if isinstance(info["segments"], list) else info["segments"],
        "queries": len(queries),
        "searches": sum(len(found) for found in depths.values()),
        "differing": len(differing),
        "first_differing": differing[:5],
        "guarantees": {str(k): dict(counts) for k, counts in guarantees.items()},
        "depth": {
            str(k): {"median": float(np.median(found)), "p95": float(np.percentile(found, 95)), "most": max(found)}
            for k, found in depths.items()
        },
    }


def equal(hits: Hits, oracle: BruteForce, truth: NDArray[np.float64], k: int) -> bool:
    """Tie-aware: scores agree rank by rank, and every hit has its own true score, f64[documents], -inf of no match."""
    matching = int(np.isfinite(truth).sum())
    count = min(k, matching)
    if len(hits) != count or not hits.guarantee.startswith("exact"):
        return False
    if not count:
        return True
    best = np.sort(np.partition(truth, len(truth) - count)[len(truth) - count :])[::-1]
    found = np.array([hit.score for hit in hits])
    own = truth[[oracle.places[name] for name in hits.ids]]
    return bool(
        np.allclose(found, best, rtol=0, atol=WITHIN)
        and np.allclose(found, own, rtol=0, atol=WITHIN)
        and len(set(hits.ids)) == len(hits)
    )


def table(record: Mapping[str, Any]) -> str:
    """Markdown."""
    head = ["collection", "documents (passages)", "queries", "answers compared", "differing", "exact", "up to ties"]
    head += [f"depth, top {k}: median, p95" for k in KS]
    lines = [head]
    for name, one in record["collections"].items():
        counts: Counter[str] = Counter()
        for found in one["guarantees"].values():
            counts.update(found)
        depths = [f"{one['depth'][str(k)]['median']:,.0f}, {one['depth'][str(k)]['p95']:,.0f}" for k in KS]
        row = [name, f"{one['documents']:,} ({one['passages']:,})", f"{one['queries']:,}", f"{one['searches']:,}"]
        row += [f"{one['differing']:,}", f"{counts['exact']:,}", f"{counts['exact up to ties at rank k']:,}"]
        lines.append([*row, *depths])
    blended = len(record["blends"])
    return (
        "# Certified answers against brute force\n\n"
        f"m3search {record['m3search']}, encoder {record['encoder']}. Every query of every split, "
        f"{blended} blends ({', '.join(PRESETS)}, {RANDOM_BLENDS} of random weights), top {' and top '.join(map(str, KS))}; "
        f"flat dense index. An answer differs if a score is off by more than {record['within']:g} at any rank, or a hit has "
        "not its own score. Depth is what each leg was asked for when the certificate closed.\n\n"
        + markdown(lines[0], lines[1:], range(1, len(lines[0])))
    )
