"""What a live index costs: small commits and deletes, searches over what changes leave, and how soon a follower sees them.

    python benchmarks/live.py             # 100,000 documents of 384 dimensions: about half an hour
    python benchmarks/live.py --quick     # 5,000 documents

The package beside this file does the work; `--help` lists what can be chosen. One thread a process: the variables below have
to stand before numpy, numba and faiss are imported.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

from live.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
