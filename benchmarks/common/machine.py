"""Machine: what a benchmark ran on, for its record."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores, Python and system; ready for JSON."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    first = lines[: lines.index("")] if "" in lines else lines
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
    name = known.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in known:  # virtual machines name many processors alike
        name += f" (family {known['cpu family']}, model {known.get('model', '?')})"
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
    }
