"""Progress: lines for who waits."""

from __future__ import annotations

import sys
import time


def say(text: str) -> None:
    """A line, with the time, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
