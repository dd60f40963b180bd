"""What a hybrid query costs and how much of the true blend it finds: ours beside other libraries and a stack built by hand.

    python benchmarks/hybrid.py --collections FOLDER     # 100,000 and 1,000,000 documents: some hours, most of them of building
    python benchmarks/hybrid.py --quick                  # 5,000 generated documents, ours and exhaustive search

The package beside this file does the work; `--help` lists what can be chosen. One process, one thread: the variables below
have to stand before numpy, numba, faiss, torch and the peers are imported. (With LANCE_CPU_THREADS=1 lancedb 0.40 waits for
itself for ever; its helper threads are counted.)
"""

import os

for _variable in (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
):  # fmt: skip
    os.environ[_variable] = "1"
os.environ.setdefault("LANCEDB_LOG", "error")  # it warns at every query

from hybrid.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
