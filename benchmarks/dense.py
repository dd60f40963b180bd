"""How fast the dense leg is: HNSW and IVF beside exhaustive search, hnswlib and usearch, on generated vectors.

    python benchmarks/dense.py                    # 100,000 and 1,000,000 vectors: some hours, most of them of building
    python benchmarks/dense.py --quick            # 20,000 vectors
    python benchmarks/dense.py --costs            # what the leg's choice between index and exhaustive search goes by

The package beside this file does the work; `--help` lists what can be chosen. One process, one thread: the variables below
have to stand before numpy and faiss are imported.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

from dense.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
