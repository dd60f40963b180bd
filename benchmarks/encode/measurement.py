"""Measurement: contestants in their processes, taking turns over the same texts."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from common.progress import say

BENCHMARKS = Path(__file__).parent.parent


class Process:
    """A contestant that runs in another process."""

    def __init__(self, name: str, folder: Path) -> None:
        say(f"{name}: loading {folder.name}")
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "encode.worker", name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=BENCHMARKS,
        )
        self.load_seconds = self._answer()["load"]

    def ask(self, do: str, texts: Path, out: Path | None = None) -> dict[str, Any]:
        """One request."""
        assert self._process.stdin is not None
        request = {"do": do, "texts": str(texts), "out": None if out is None else str(out)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}: its errors stand above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # closes its input, which ends it
        self._process.communicate()


def throughput(
    processes: Sequence[Process], texts: Sequence[str], tokens: int, scratch: Path, passes: Mapping[str, int]
) -> dict[str, Any]:
    """Tokens per CPU second and how the similarities of all pairs of texts agree with those of the first contestant.

    Args:
        processes: the first one is the measure.
        texts: what all of them encode.
        tokens: of the texts, without padding.
        scratch: a folder.
        passes: how often, by contestant; the figure is the median.
    """
    path = scratch / "texts.json"
    path.write_text(json.dumps(list(texts)))
    times: dict[str, list[float]] = {process.name: [] for process in processes}
    for turn in range(max(passes.values())):
        for process in processes:
            if turn < passes[process.name]:
                say(f"{process.name}: {len(texts)} texts, pass {turn + 1}")
                times[process.name].append(process.ask("passages", path, scratch / f"{process.name}.npy")["seconds"])
    vectors = {name: np.load(scratch / f"{name}.npy").astype(np.float64) for name in times}
    exact = vectors[processes[0].name]
    pairs = np.triu_indices(len(texts), 1)
    return {
        name: {
            "seconds": statistics.median(seconds),
            "passes": len(seconds),
            "tokens_per_second": tokens / statistics.median(seconds),
            "correlation": float(np.corrcoef((exact @ exact.T)[pairs], (vectors[name] @ vectors[name].T)[pairs])[0, 1]),
            "least_cosine": float((exact * vectors[name]).sum(axis=1).min()),
            "largest_difference": float(np.abs(exact - vectors[name]).max()),
        }
        for name, seconds in times.items()
    }


def latency(processes: Sequence[Process], queries: Sequence[str], scratch: Path, rounds: int) -> dict[str, float]:
    """Median CPU seconds of a query; every query is asked once, so no cache helps."""
    parts = np.array_split(np.array(queries, object), rounds + 1)
    times: dict[str, list[float]] = {process.name: [] for process in processes}
    path = scratch / "queries.json"
    for turn, part in enumerate(parts):
        path.write_text(json.dumps(part.tolist()))
        for process in processes:
            seconds = process.ask("query", path)["seconds"]
            if turn:  # the first part warms up
                times[process.name] += seconds
    return {name: statistics.median(values) for name, values in times.items()}


def memory(process: Process, texts: Sequence[str], scratch: Path) -> dict[str, float]:
    """What encoding all texts with all outputs takes in memory beyond the loaded model."""
    path = scratch / "many.json"
    path.write_text(json.dumps(list(texts)))
    say(f"{process.name}: memory of {len(texts):,} texts")
    return process.ask("everything", path)
