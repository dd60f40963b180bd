"""``m3search warm``: compile ahead."""

from __future__ import annotations

import sys

from m3search.cli.terminal import AsJson, note, print_json


def warm(as_json: AsJson = False) -> None:
    """Compile the search loops now, as after an installation, so that neither a build nor a first query waits for it.

    Example: m3search warm
    """
    from m3search import retrieval

    seconds = retrieval.warm(note)
    if as_json:
        print_json({"seconds": seconds})
    else:
        sys.stdout.write(f"search loops are ready: {seconds:.1f} s\n")
