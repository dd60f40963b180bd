"""What three ways to score a training batch lexically take in memory and time, forward and backward, and how much fits in 8 GB.

    python benchmarks/train_memory.py            # some minutes; up to 9 GB of memory
    python benchmarks/train_memory.py --quick    # a small vocabulary

Every way runs in a process of its own, one thread; what does not fit into the memory that is free is computed, and marked.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from train_memory.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
