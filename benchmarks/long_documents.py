"""What cutting long documents into passages is worth: nDCG@10, encoding time and size on a BEIR folder of long texts.

    python benchmarks/long_documents.py --collections FOLDER [--name qmsum] [--split dev] [--ways "BM25, whole"]

FOLDER holds a BEIR folder per name. Every way to cut is a row of its own and kept in benchmarks/results/long-documents.json,
from which long-documents.md is written; --ways measures some rows again. Indexes are made anew and thrown away.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.machine import machine
from common.markdown import table
from common.progress import say

from m3search import Document, Encoder, Index, Passages
from m3search.analysis.passages import Cutter
from m3search.evaluation import Dataset, load_beir
from m3search.indexing.sources import open_source
from m3search.indexing.sources.record import Record, read_documents

RESULTS = Path(__file__).parent / "results" / "long-documents"
BLENDS = {"dense": "dense=1", "BM25": "bm25=1", "dense + BM25": "dense=1,bm25=1"}
MEASURES = ("nDCG@10", "R@100")


@dataclass(frozen=True, slots=True)
class Way:
    """How documents are cut: by these passages, whole for BM25 alone, or all but the first passage thrown away."""

    passages: Passages | None
    encoded: bool = True
    first_only: bool = False


WAYS: Mapping[str, Way] = {
    "first window alone": Way(None, first_only=True),
    "BM25, whole": Way(None, encoded=False),
    "sentences, 254 tokens (default)": Way(None),
    "words, 254 tokens": Way(Passages(by="word")),
    "sentences, 254 tokens, 64 repeated": Way(Passages(overlap=64)),
    "sentences, 128 tokens": Way(Passages(tokens=128)),
}


def main() -> None:
    """Measures what is asked for, and writes all that was ever measured."""
    parser = argparse.ArgumentParser(description="Long documents as passages.")
    parser.add_argument("--collections", type=Path, required=True, help="folder of BEIR folders")
    parser.add_argument("--name", default="qmsum", help="the collection (qmsum)")
    parser.add_argument("--split", default="dev", help="of its qrels (dev)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY", help="rows")
    args = parser.parse_args()
    folder = args.collections / args.name
    data = load_beir(folder, args.split)
    encoder = Encoder.load("mini")
    path = RESULTS.with_suffix(".json")
    record = json.loads(path.read_text()) if path.is_file() else {"rows": {}}
    record |= {"collection": args.name, "split": args.split, "queries": len(data.qrels), "machine": machine()}
    for name in args.ways:
        record["rows"][name] = measured(name, WAYS[name], folder, data, encoder)
        record["rows"] = {way: record["rows"][way] for way in WAYS if way in record["rows"]}
        path.write_text(json.dumps(record, indent=1) + "\n")
        RESULTS.with_suffix(".md").write_text(report(record))
    print(report(record))


def measured(name: str, way: Way, folder: Path, data: Dataset, encoder: Encoder) -> dict[str, Any]:
    """One row."""
    say(f"{name}: building")
    documents: Iterable[Any] = open_source(str(folder))
    if way.first_only:
        documents = first_passages(documents, encoder)
    with tempfile.TemporaryDirectory(prefix="m3search-long-") as temporary:
        started, wall = time.process_time(), time.perf_counter()
        with Index.build(
            documents,
            Path(temporary) / "index",
            encoder=encoder if way.encoded else None,
            passages=way.passages,
            progress=False,
        ) as index:
            row: dict[str, Any] = {
                "cpu_s": time.process_time() - started,
                "wall_s": time.perf_counter() - wall,
                "passages": index.info()["passages"],
                "bytes": index.info()["bytes"]["total"],
                "values": {},
            }
            for blend, weights in BLENDS.items():
                if way.encoded or "dense" not in weights:
                    say(f"{name}: {blend}")
                    found = index.evaluate(data, measures=MEASURES, weights=weights)
                    row["values"][blend] = dict(found.values)
    return row


def first_passages(documents: Iterable[Record], encoder: Encoder) -> Iterator[Document]:
    """What is left of each where an encoder cuts off what it cannot take."""
    cutter = Cutter(encoder.room, encoder.token_spans, by="word")
    for accepted in read_documents(documents):
        document = accepted.document
        (passages,) = cutter.split([document])
        yield Document(document.id, document.text[slice(*passages[0].span)], document.title)


def report(record: Mapping[str, Any]) -> str:
    """The table."""
    head = ["documents as", "passages", *(f"{blend} nDCG@10" for blend in BLENDS), "encoding CPU s", "index MB"]
    rows = []
    for name, row in record["rows"].items():
        values = [row["values"].get(blend, {}).get("nDCG@10") for blend in BLENDS]
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        rows.append([name, f"{row['passages']:,}", *cells, f"{row['cpu_s']:,.0f}", f"{row['bytes'] / 1e6:,.0f}"])
    where = record["machine"]
    return (
        f"{record['collection']}, {record['split']}, {record['queries']} queries; the encoder is `mini`, which takes 254 "
        f"tokens; {where['cpu']}, {where['cores']} cores, Python {where['python']}.\n\n{table(head, rows, range(1, len(head)))}"
    )


if __name__ == "__main__":
    main()
