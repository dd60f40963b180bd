"""Threads: one, in libraries that are loaded already; those that are loaded later read the environment."""

from __future__ import annotations

import sys


def one_thread() -> None:
    """FAISS and torch, where they are there."""
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
