"""Which blend the embedded encoder recommends: learned on training queries, reported on the others.

    python benchmarks/weights.py --collections FOLDER [--report cranfield xquad-mono] [--fresh]

FOLDER holds a BEIR folder per name. Every blend of a grid is searched for the queries of `LEARNED`; what `recommended` picks by
their mean nDCG@10 stands beside dense and BM25 alone on the queries of `REPORTED`. Writes benchmarks/results/weights.json and
weights.md after every blend and every collection, and goes on where a run was stopped; --report says which collections are
reported. Indexes that quality.py or exact.py made are used, others are built beside exact.py's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.indexes import kept_index
from common.markdown import table
from common.progress import say

from m3search import Encoder, Encodings, Hits, Weights
from m3search.evaluation import Dataset, evaluate, load_beir

ROOT = Path(__file__).parent
INDEXES = ROOT.parent / "indexes" / "benchmark"
LEARNED = (("scifact", "train"), ("qmsum", "train"), ("debian-de", "dev"))
REPORTED = (
    ("cranfield", "test"), ("cisi", "test"), ("cacm", "test"), ("scifact", "test"), ("qmsum", "dev"), ("debian-de", "test"),
    ("debian-fr", "test"), ("debian-xl", "dev"), ("xquad-mono", "test"), ("xquad-cross", "test"),
)  # fmt: skip
LEXICAL = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0)
BM25 = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0)
ALONE = {"dense": {"dense": 1.0}, "BM25": {"bm25": 1.0}, "lexical": {"lexical": 1.0}}
MEASURE = "nDCG@10"


class Asked:
    """A collection's index with the queries of one split, encoded once.

    Raises:
        SourceError: the collection cannot be read.
    """

    def __init__(self, collections: Path, name: str, split: str, encoder: Encoder) -> None:
        self.name, self.split = name, split
        self.data: Dataset = load_beir(collections / name, split)
        places = INDEXES / name, INDEXES / "exact" / name
        self._index = kept_index(collections / name, *places, encoder=encoder, on_error="skip")
        texts = list(self.data.queries.values())
        encoded = encoder.encode(texts, query=True)
        self._encoded: dict[str, Encodings] = {text: encoded.rows(row, row + 1) for row, text in enumerate(texts)}

    def value(self, weights: dict[str, float]) -> tuple[float, float]:
        """nDCG@10 of a blend, and its standard error."""

        def search(texts: Sequence[str], depth: int) -> list[list[tuple[str, float]]]:
            return [
                _pairs(self._index.search(text, depth, weights=weights, encodings=self._encoded[text]))
                for text in texts
            ]

        found = evaluate(search, self.data, (MEASURE,))
        each = list(found.per_query[MEASURE].values())
        return found[MEASURE], float(np.std(each, ddof=1) / np.sqrt(len(each)))


def _pairs(hits: Hits) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in hits]


def learned(points: dict[str, Any], collections: Path, encoder: Encoder) -> Iterator[None]:
    """Fills in what every blend of the grid gives each collection; after each of them whoever asks can keep it."""
    blends = [(lexical, bm25) for lexical in LEXICAL for bm25 in BM25 if _key(lexical, bm25) not in points]
    asked = [Asked(collections, name, split, encoder) for name, split in LEARNED] if blends else []
    for lexical, bm25 in blends:
        found = [one.value({"dense": 1.0, "lexical": lexical, "bm25": bm25}) for one in asked]
        points[_key(lexical, bm25)] = {
            "values": [round(value, 4) for value, _ in found],
            "error": round(float(np.sqrt(sum(error**2 for _, error in found))) / len(found), 4),
        }
        say(f"lexical {lexical:g}, bm25 {bm25:g}: {points[_key(lexical, bm25)]}")
        yield


def _key(lexical: float, bm25: float) -> str:
    return f"{lexical:g}, {bm25:g}"


def best(points: dict[str, Any]) -> str:
    """The blend whose mean is the highest."""
    return max(points, key=lambda key: np.mean(points[key]["values"]))


def recommended(points: dict[str, Any]) -> dict[str, float]:
    """Of the blends that come within one standard error of the best, the one that weighs dense the most.

    Source: the rule of one standard error, Breiman and others, Classification and Regression Trees (1984), section 3.4.3.
    """
    top = points[best(points)]
    least = np.mean(top["values"]) - top["error"]
    within = [tuple(map(float, key.split(", "))) for key, one in points.items() if np.mean(one["values"]) >= least]
    lexical, bm25 = min(within, key=lambda weights: (sum(weights), weights))
    return {"dense": 1.0, "lexical": lexical, "bm25": bm25}


def report(record: dict[str, Any]) -> str:
    """Both tables."""
    head = ["lexical \\ bm25", *(f"{weight:g}" for weight in BM25)]
    points = record["points"]
    means = {key: f"{np.mean(one['values']):.4f}" for key, one in points.items()}
    grid = [[f"{lexical:g}", *(means.get(_key(lexical, bm25), "") for bm25 in BM25)] for lexical in LEXICAL]
    names = ", ".join(f"{name} {split}" for name, split in LEARNED)
    compared = {**ALONE, "learned blend": recommended(points)}
    head_of_others = ["collection", *compared]
    rows = [[place, *(f"{found[name]:.3f}" for name in compared)] for place, found in record["reported"].items()]
    return (
        f"Mean {MEASURE} on {names}; dense weighs 1.\n\n{table(head, grid, range(1, len(head)))}\n"
        f"The best has a standard error of {points[best(points)]['error']:.4f}. Of those within it, the one that weighs dense "
        f"the most is {Weights(**recommended(points))}; on other queries:\n\n"
        f"{table(head_of_others, rows, range(1, len(head_of_others)))}"
    )


def main() -> None:
    """Learns, reports and writes; what an earlier run has found is taken over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--collections", type=Path, required=True)
    parser.add_argument("--report", nargs="*", metavar="NAME", help="collections that are reported (all)")
    parser.add_argument("--fresh", action="store_true", help="take nothing over")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "weights")
    args = parser.parse_args()
    encoder = Encoder.load("mini")
    path = args.out.with_suffix(".json")
    record: dict[str, Any] = {"encoder": encoder.identity.to_dict(), "points": {}, "reported": {}}
    earlier = json.loads(path.read_text()) if path.is_file() and not args.fresh else {}
    if earlier.get("encoder") == record["encoder"]:
        record = earlier
    for _ in learned(record["points"], args.collections, encoder):
        path.write_text(json.dumps(record, indent=1) + "\n")
    compared = {**ALONE, "learned blend": recommended(record["points"])}
    for name, split in REPORTED:
        if args.report is None or name in args.report:
            asked, place = Asked(args.collections, name, split, encoder), f"{name} {split}"
            record["reported"][place] = {blend: asked.value(weights)[0] for blend, weights in compared.items()}
            say(f"{place}: {record['reported'][place]}")
            path.write_text(json.dumps(record, indent=1) + "\n")
            args.out.with_suffix(".md").write_text(report(record))
    print(report(record))


if __name__ == "__main__":
    main()
