"""What four ways to make M3's lexical output take in memory and time: the reason why sparse mode ran out of memory.

    python benchmarks/sparse_memory.py            # a few minutes; up to 10 GB of memory for what fits
    python benchmarks/sparse_memory.py --quick    # a small vocabulary

Every way runs in a process of its own, one thread; what does not fit into the memory that is free is computed, and marked.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from sparse_memory.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
