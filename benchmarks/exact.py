"""Whether certified answers are what brute force over all documents gives, on every query of BEIR folders.

    python benchmarks/exact.py --collections FOLDER [--names cranfield cacm debian-de] [--queries N]

FOLDER holds a BEIR folder per name; without --names all are taken. Writes benchmarks/results/exact.json and exact.md. Indexes
are built once under indexes/benchmark/exact/ and reused; --fresh builds them again. Exits with 1 if an answer differs.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from exact.command import main  # noqa: E402 - libraries read the settings when they are imported

if __name__ == "__main__":
    main()
