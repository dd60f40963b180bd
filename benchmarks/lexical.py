"""How fast the lexical leg is: ours beside every peer that PyPI has, on generated M3-like vectors and on real short texts.

    python benchmarks/lexical.py --collections FOLDER      # everything: an hour and about 20 GB of memory
    python benchmarks/lexical.py --quick                   # 20,000 documents, under a minute

The package beside this file does the work; `--help` lists what can be chosen. One process, one thread: the variables below
have to stand before numpy, numba, faiss and torch are imported.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

from lexical.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
