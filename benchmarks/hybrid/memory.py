"""Memory: what an open engine takes, in a fresh process that opens it and asks some queries with the first of its settings.

`measured` runs this module. What the process took before it opened the index, with the peer's packages imported, is taken off.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from hybrid.collection import load

_QUERIES = 50


def measured(peer: str, collection: Path, folder: Path) -> dict[str, int]:
    """Bytes: "rss", and "anonymous" of it, which no file backs; empty where the system does not say, or the peer fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    job = json.dumps({"peer": peer, "collection": str(collection), "folder": str(folder)})
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=job, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _resident() -> dict[str, int]:
    path = Path("/proc/self/status")
    if not path.exists():
        return {}
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return {name: 1024 * int(lines[field].split()[0]) for name, field in (("rss", "VmRSS"), ("anonymous", "RssAnon"))}


def _main() -> None:
    from hybrid.engines import PEERS

    job = json.load(sys.stdin)
    peer, collection = PEERS[job["peer"]], load(Path(job["collection"]), _QUERIES, 0)
    for module in peer.modules:
        importlib.import_module(module)
    before = _resident()
    opened = peer.open(collection, Path(job["folder"]))
    for engine in opened.engines:
        for query in collection.queries:
            engine.answer(engine.search(engine.prepare(query, engine.settings[0])))
    after = _resident()
    print(json.dumps({name: after[name] - before[name] for name in after}))
    sys.stdout.flush()
    os._exit(0)  # a peer's threads may not end


if __name__ == "__main__":
    _main()
