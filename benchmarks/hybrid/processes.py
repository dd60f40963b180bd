"""Processes: CPU time and memory of this process, and of those that work for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path


def clock(processes: Sequence[int] = ()) -> Callable[[], int]:
    """A function that gives CPU nanoseconds, of all threads."""
    if not processes:
        return time.process_time_ns
    return lambda: time.process_time_ns() + sum(map(_cpu_ns, processes))


def resident(processes: Sequence[int] = ()) -> dict[str, int]:
    """Bytes in memory: "rss", and what of it is "anonymous", not pages of files; empty where the system does not say."""
    found = {"rss": 0, "anonymous": 0}
    for process in ("self", *processes):
        path = Path(f"/proc/{process}/status")
        if not path.exists():
            return {}
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        for name, field in (("rss", "VmRSS"), ("anonymous", "RssAnon")):
            found[name] += 1024 * int(lines[field].split()[0])
    return found


def _cpu_ns(process: int) -> int:
    """Of another process; Linux's scheduler counts in nanoseconds, thread by thread."""
    total = 0
    for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:  # the thread has ended
            continue
    return total
