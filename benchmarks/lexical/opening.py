"""Opening: what a fresh process waits for, from an index on disk to its first and second answer.

`measured` runs this module in processes of its own. Wall time, after imports, with the kernels that the build left compiled.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from lexical.collection import Query
from m3search import Encodings, Index

_RUNS = 3


def measured(folder: Path, vocabulary: int, queries: Sequence[Query]) -> dict[str, float]:
    """Milliseconds "open_ms", "first_ms" and "second_ms": the medians of three processes."""
    asked = [[query.terms.tolist(), query.weights.tolist()] for query in queries[:2]]
    job = json.dumps({"folder": str(folder), "vocabulary": vocabulary, "queries": asked})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", __name__], input=job, env=environment, check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(_RUNS)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _main() -> None:
    job = json.load(sys.stdin)
    queries = []
    for terms, weights in job["queries"]:
        row = (np.array(weights, np.float32), np.array(terms, np.int32), np.array([0, len(terms)], np.int32))
        queries.append(Encodings(lexical=sparse.csr_array(row, shape=(1, job["vocabulary"]))))
    started = time.perf_counter()
    index = Index.open(job["folder"])
    opened = time.perf_counter()
    seconds = {"open_ms": opened - started}
    for name, query in zip(("first_ms", "second_ms"), queries, strict=True):
        started = time.perf_counter()
        index.search(query, 10, weights="lexical=1")
        seconds[name] = time.perf_counter() - started
    index.close()
    print(json.dumps({name: 1000 * value for name, value in seconds.items()}))


if __name__ == "__main__":
    _main()
