"""Worker: one way over one batch in a process of its own, forward and backward.

``python -m train_memory.worker WAY QUERIES QUERY_TOKENS PASSAGES TOKENS VOCABULARY SEED OUT``

Prints a line of JSON: the most memory beyond the inputs, and CPU seconds; writes scores and gradients to OUT.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from common.memory import measured

from train_memory.ways import WAYS, texts


def main() -> None:
    """Runs the way once."""
    way, out = sys.argv[1], sys.argv[8]
    count, query_tokens, passages, tokens, vocabulary, seed = map(int, sys.argv[2:8])
    torch.set_num_threads(1)
    # what is loaded or allocated at the first call is no part of the measure
    WAYS[way](texts(2, 4, 50, seed), texts(2, 8, 50, seed), 50).sum().backward()
    left, right = texts(count, query_tokens, vocabulary, seed), texts(passages, tokens, vocabulary, seed + 1)
    pull = torch.randn(count, passages, generator=torch.Generator().manual_seed(seed))

    def there_and_back() -> torch.Tensor:
        scores = WAYS[way](left, right, vocabulary)
        (scores * pull).sum().backward()
        return scores

    scores, found = measured(there_and_back)
    assert left.weights.grad is not None
    assert right.weights.grad is not None
    np.savez(out, scores=scores.detach().numpy(), left=left.weights.grad.numpy(), right=right.weights.grad.numpy())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
