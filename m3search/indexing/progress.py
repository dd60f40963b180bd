"""Progress: a bar on the terminal while a build runs.

Imports rich, when there is something to draw. Invariant: nothing is drawn where nobody looks.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(total: int | None, *, enabled: bool, what: str = "indexing") -> Iterator[Callable[[int], None]]:
    """A function to be called with the number of documents that were just done.

    Args:
        total: how many documents there are, or None.
        what: stands before the bar.
        enabled: whether to draw at all; it also takes a terminal on standard error.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.update(task, advance=count)
