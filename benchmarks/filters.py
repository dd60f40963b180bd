"""What a filter costs: searches that may find all, 50%, 10%, 1% or 0.01% of the documents, ours beside lancedb and qdrant-edge.

    python benchmarks/filters.py             # 100,000 documents with the peers, a million of ours: about half an hour
    python benchmarks/filters.py --quick     # 5,000 documents, ours alone

The package beside this file does the work; `--help` lists what can be chosen. One process, one thread: the variables below
have to stand before numpy, numba, faiss and the peers are imported. (With LANCE_CPU_THREADS=1 lancedb 0.40 waits for itself
for ever; its helper threads are counted.)
"""

import os

for _variable in (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
):  # fmt: skip
    os.environ[_variable] = "1"
os.environ.setdefault("LANCEDB_LOG", "error")  # it warns at every query

from filters.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
