"""Store: built indexes kept between runs, each in a folder by collection and peer."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from hybrid.collection import Collection
from hybrid.engine import Peer

_RECORD = "built.json"


def disk_bytes(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk: some peers make files longer than what they write into them."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(512 * one.st_blocks if hasattr(one, "st_blocks") else one.st_size for one in found)


def built(peer: Peer, collection: Collection, *, fresh: bool = False) -> tuple[Path, dict[str, Any]]:
    """The folder of a peer's index, built if it must be, and what is known of its build.

    "seconds" in the record is CPU time of all threads.

    Raises:
        UnavailableError: from the peer.
    """
    version = peer.version()
    place = collection.folder / "indexes" / peer.name.replace(" ", "-")
    folder, record = place / "index", place / _RECORD
    wanted = {"version": version, "documents": len(collection), "dim": collection.dim}
    if peer.kept and not fresh and record.is_file():
        known = json.loads(record.read_text())
        if {name: known[name] for name in wanted} == wanted:
            return folder, known
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True)
    started = time.process_time()
    notes = peer.build(collection, folder)
    seconds = time.process_time() - started - notes.pop("aside_s", 0.0)
    known = {**wanted, "seconds": seconds, "notes": notes}
    record.write_text(json.dumps(known, indent=1) + "\n")
    return folder, known
