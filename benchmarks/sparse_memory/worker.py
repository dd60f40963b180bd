"""Worker: one way over one batch in a process of its own.

``python -m sparse_memory.worker WAY TEXTS TOKENS VOCABULARY SEED OUT``

Prints a line of JSON: the most memory beyond what stood before, and CPU seconds; writes the weights to OUT.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from common.memory import measured

from sparse_memory.ways import WAYS, as_matrix, batch


def main() -> None:
    """Runs the way once."""
    way, (texts, tokens, vocabulary, seed), out = sys.argv[1], map(int, sys.argv[2:6]), sys.argv[6]
    torch.set_num_threads(1)
    # what is loaded or allocated at the first call is no part of the measure
    WAYS[way](*batch(2, 8, 50, seed), 50)
    weights, ids = batch(texts, tokens, vocabulary, seed)
    weighed, found = measured(lambda: WAYS[way](weights, ids, vocabulary))
    matrix = as_matrix(weighed, vocabulary)
    np.savez(out, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
