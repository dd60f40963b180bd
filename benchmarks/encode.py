"""How fast and how lean the encoder is, beside FlagEmbedding and ONNX Runtime.

    python benchmarks/encode.py            # everything: an hour or more, 8 GB of memory, 6 GB of disk under --cache
    python benchmarks/encode.py --quick    # small models and few texts: some minutes, figures without a verdict

The models are shaped as BGE-M3 is and have random weights, so no model hub is needed; `peers.txt` beside the package's
files names what is installed beside m3search. Every contestant has a process and one thread of its own; they take turns.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from encode.command import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    main()
