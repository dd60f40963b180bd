"""Measure an index against a BEIR folder: python examples/evaluate.py [FOLDER]; without one, on a tiny folder made here."""

import json
import sys
import tempfile
from pathlib import Path

from m3search import Index
from m3search.indexing.sources import open_source

CORPUS = {"zip": "read and write zip archives", "json": "parse json text", "lock": "threads wait for a lock"}
QUERIES = {"1": "open a compressed archive", "2": "mutual exclusion of threads"}
QRELS = [("1", "zip"), ("2", "lock")]


def tiny(folder: Path) -> Path:
    """Writes a BEIR folder."""
    for name, texts in (("corpus", CORPUS), ("queries", QUERIES)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{query}\t{document}\t1\n" for query, document in QRELS)
    )
    return folder


with tempfile.TemporaryDirectory() as temporary:
    beir = Path(sys.argv[1]) if len(sys.argv) > 1 else tiny(Path(temporary))
    with Index.build(open_source(beir), encoder="mini") as index:
        for weights in ("dense=1", "bm25=1", "dense=1,bm25=0.5"):
            print(index.evaluate(beir, measures=["nDCG@10", "R@100"], weights=weights), weights)
