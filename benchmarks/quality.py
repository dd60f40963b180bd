"""How good the answers are: every blend of the embedded encoder's legs on BEIR folders, as a table.

    python benchmarks/quality.py --collections FOLDER [--names cranfield cisi cacm scifact]

FOLDER holds a BEIR folder per name. Writes benchmarks/results/quality.json and quality.md, the table in the README. An index
is built once per collection under indexes/benchmark/ and reused; --fresh builds it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from common.indexes import kept_index

import m3search
from m3search import Index
from m3search.evaluation import load_beir

ROOT = Path(__file__).parent
BLENDS = {
    "dense": "dense=1",
    "lexical": "lexical=1",
    "bm25": "bm25=1",
    "dense + lexical": "dense=1,lexical=0.3",
    "dense + bm25": "dense=1,bm25=0.5",
    "dense + lexical + bm25": "dense=1,lexical=0.8,bm25=1",
}
COLBERT = ",colbert=1"
MEASURES = ("nDCG@10", "R@100")
RERANK = 100


def measure(index: Index, folder: Path, split: str) -> dict[str, dict[str, float]]:
    """Blend -> measure -> value."""
    data = load_beir(folder, split)
    values: dict[str, dict[str, float]] = {}
    for name, weights in BLENDS.items():
        for suffix, added in (("", ""), (" + colbert", COLBERT)):
            started = time.perf_counter()
            result = index.evaluate(data, measures=MEASURES, weights=weights + added, rerank=RERANK)
            values[name + suffix] = dict(result.values)
            seconds = time.perf_counter() - started
            print(f"{result}  {name}{suffix}  {seconds:.0f} s", file=sys.stderr)
    return values


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row per blend, per collection nDCG@10 and R@100, the best of each column in bold."""
    names = list(results)
    blends = list(next(iter(results.values())))
    lines = [
        f"| legs | {' | '.join(f'{name} {measure}' for name in names for measure in MEASURES)} |",
        f"|---|{'---:|' * (len(names) * len(MEASURES))}",
    ]
    best = {(name, m): max(results[name][blend][m] for blend in blends) for name in names for m in MEASURES}
    for blend in blends:
        cells = []
        for name in names:
            for m in MEASURES:
                value = results[name][blend][m]
                text = f"{value:.3f}".removeprefix("0")
                cells.append(f"**{text}**" if value == best[name, m] else text)
        lines.append(f"| {blend} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Builds, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--collections", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["cranfield", "cisi", "cacm", "scifact"])
    parser.add_argument("--split", default="test")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "quality")
    args = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    sizes: dict[str, dict[str, int]] = {}
    for name in args.names:
        folder = args.collections / name
        place = ROOT.parent / "indexes" / "benchmark" / name
        with kept_index(folder, place, encoder="mini", fresh=args.fresh, colbert="int8") as index:
            sizes[name] = {"documents": len(index), "passages": index.info()["passages"]}
            results[name] = measure(index, folder, args.split)
    record = {
        "m3search": m3search.__version__,
        "encoder": "mini",
        "split": args.split,
        "blends": BLENDS,
        "colbert": COLBERT.lstrip(","),
        "rerank": RERANK,
        "sizes": sizes,
        "results": results,
    }
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
