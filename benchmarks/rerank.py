"""How fast and how good ColBERT's rerank is: every codec beside one fp32 einsum a pair, on generated and on real token vectors.

    python benchmarks/rerank.py --collections FOLDER       # everything: about twenty minutes, most of them to encode texts
    python benchmarks/rerank.py --quick                    # generated vectors alone, and few: under a minute

FOLDER holds a BEIR folder for each of --names. The package beside this file does the work; `--help` lists what can be chosen.
One process, one thread: the variables below have to stand before numpy, numba and torch are imported.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

from rerank.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
