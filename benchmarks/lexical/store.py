"""Store: the indexes of the peers, kept between runs beside their collection.

Invariant: an index is opened only if it is whole, and the peer's version and the collection are those it was built from.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from lexical.collection import Collection
from lexical.engine import Peer

_RECORD = "built.json"


def built(peer: Peer, collection: Collection, cache: Path, *, fresh: bool = False) -> tuple[Path, dict[str, Any]]:
    """The folder of a peer's index, built if it must be, and what is known of its build.

    "seconds" in the record is CPU time of all threads.

    Raises:
        UnavailableError: from the peer.
    """
    version = peer.version()
    place = cache / "indexes" / collection.name / peer.name.replace(" ", "-")
    folder, record = place / "index", place / _RECORD
    wanted = {"version": version, "collection": collection.about}
    if peer.kept and not fresh and record.is_file():
        known = json.loads(record.read_text())
        if {name: known[name] for name in wanted} == wanted:
            return folder, known
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True)
    started = time.process_time()
    notes = peer.build(collection, folder)
    seconds = time.process_time() - started
    known = {**wanted, "seconds": seconds, "notes": notes}
    record.write_text(json.dumps(known, indent=1) + "\n")
    return folder, known
