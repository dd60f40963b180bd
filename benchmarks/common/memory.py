"""Memory: how much there is, what a process has, and what an action takes; as Linux tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def free_bytes() -> int:
    """Bytes that could be had without swapping."""
    return _kilobytes("/proc/meminfo", "MemAvailable", "how much memory is free: give --limit")


def resident(kind: str = "VmRSS") -> int:
    """Bytes of this process, by the kernel's name for which of them."""
    return _kilobytes("/proc/self/status", kind, "how much memory a process has: run on Linux")


def measured(action: Callable[[], Result]) -> tuple[Result, dict[str, float]]:
    """What an action returns; the most bytes that the process had beyond those before, and the CPU seconds."""
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    started = time.process_time()
    result = action()
    seconds = time.process_time() - started
    return result, {"bytes": resident("VmHWM") - before, "seconds": seconds}


def readable(size: float) -> str:
    """Gigabytes or megabytes of 1,000, as text."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else "< 1 MB"


def _kilobytes(path: str, name: str, what: str) -> int:
    file = Path(path)
    for line in file.read_text().splitlines() if file.exists() else ():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not say {what}")
