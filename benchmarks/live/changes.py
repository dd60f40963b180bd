"""Changes: what commits of 1 to 1,000 documents and deletes cost, and when a following reader sees them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filters.collection import Collection

from live.documents import built, given
from m3search import Index

BENCHMARKS = Path(__file__).parent.parent
SIZES = (1, 10, 100, 1000)


def changes(collection: Collection, documents: int, folder: Path, rounds: int) -> dict[str, Any]:
    """What is done -> milliseconds that it takes until it is durable: median, 95th percentile, CPU, bytes written."""
    path = folder / "changed"
    built(collection, documents, path).close()
    found = {}
    number = documents
    with Index.open(path, mode="w") as index:
        for size in SIZES:
            count = min(rounds, (len(collection) - number) // size)
            batches = [given(collection, start, start + size) for start in range(number, number + count * size, size)]
            number += count * size
            if not batches:  # a small collection
                continue
            found[f"add {size:,}"] = _spent([_add(index, batch) for batch in batches])
        names = [str(one) for one in np.random.default_rng(3).permutation(documents).tolist()]
        for size in (1, 100):
            parts = [names[size * one : size * (one + 1)] for one in range(min(rounds, documents // (4 * size)))]
            names = names[size * len(parts) :]
            found[f"delete {size:,}"] = _spent([_delete(index, part) for part in parts])
        started = time.perf_counter()
        done = index.merge()
        found["merge"] = {"seconds": time.perf_counter() - started, "documents": done.documents}
        started = time.perf_counter()
        compacted = index.compact()
        found["compact"] = {
            "seconds": time.perf_counter() - started, "before": compacted.before, "after": compacted.after
        }  # fmt: skip
    return found


def _add(index: Index, batch: Any) -> Callable[[], Any]:
    return lambda: index.add(*batch)


def _delete(index: Index, names: Sequence[str]) -> Callable[[], Any]:
    return lambda: index.delete(names)


def _spent(actions: Sequence[Callable[[], Any]]) -> dict[str, float]:
    wall, cpu = [], []
    for action in actions:
        started, before = time.perf_counter(), time.process_time()
        action()
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - before))
    ordered = sorted(wall)
    return {
        "times": len(wall),
        "ms": statistics.median(wall),
        "cpu_ms": statistics.median(cpu),
        "p95_ms": ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))],
        "longest_ms": ordered[-1],
    }


def following(collection: Collection, documents: int, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds from `add` returning to an answer of a following reader in another process that has the document.

    The reader asks again and again; what it answers before `add` has returned counts as 0. "first" is what the reader's first
    search of a new generation takes, "next" the one after it.
    """
    path = (folder / "followed").absolute()
    built(collection, documents, path).close()
    command = [sys.executable, "-m", "live.follower", str(path)]
    with subprocess.Popen(command, cwd=BENCHMARKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdout.readline()
        seen, first, following_ = [], [], []
        with Index.open(path, mode="w") as index:
            for number in range(rounds):
                place = documents + number
                batch = given(collection, place, place + 1, f"unseen{number}")
                reader.stdin.write(f"unseen{number}\n")
                reader.stdin.flush()
                reader.stdout.readline()  # it has begun to ask
                index.add(*batch)
                returned = time.monotonic()
                at, one, other = map(float, reader.stdout.readline().split())
                seen.append(1000 * max(at - returned, 0))
                first.append(1000 * one)
                following_.append(1000 * other)
        reader.stdin.close()
    ordered = sorted(seen)
    return {
        "times": rounds,
        "ms": statistics.median(seen),
        "p95_ms": ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))],
        "longest_ms": ordered[-1],
        "first_search_ms": statistics.median(first),
        "next_search_ms": statistics.median(following_),
    }
