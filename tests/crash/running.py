"""Short and long: how much the tests of this folder do, and where the figures of `make torture` go.

A long run is made of chunks, each a run of pytest: `torture.py` runs them, keeps what they noted, and goes on where it was
stopped. Without it M3SEARCH_TORTURE=1 runs the first chunk of everything.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

LONG = bool(os.environ.get("M3SEARCH_TORTURE"))
CHUNK = int(os.environ.get("M3SEARCH_TORTURE_CHUNK", "0"))
NOTES = os.environ.get("M3SEARCH_TORTURE_NOTES")
FOLDER = Path(__file__).parent


def note(**figures):
    """Keep figures of a test that has passed, for the table of a long run; figures of one name are added up."""
    if NOTES:
        with Path(NOTES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")


def run(script, *arguments, timeout=None):
    """The lines of JSON that a script of this folder prints; it is one thread, because it forks."""
    beside = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": beside}
    command = [sys.executable, "-W", "ignore", FOLDER / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr
