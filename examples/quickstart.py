"""Build an index, search it, look at the parts of a score, and open it again another day."""

import tempfile
from pathlib import Path

from m3search import Document, Index

DOCUMENTS = [
    Document("zipfile", "Read and write archives in the ZIP format.", title="zipfile"),
    Document("tarfile", "Read and write tar archives, with or without compression.", title="tarfile"),
    {"id": "shutil", "text": "Copy, move and remove whole directory trees.", "metadata": {"since": "1.5"}},
    {"id": "csv", "text": "Read and write tables in which commas separate the values."},
]

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "mine"
    with Index.build(DOCUMENTS, path, encoder="mini") as index:
        for hit in index.search("how do I open a zip file", k=2):
            print(hit.rank, hit.id, round(hit.score, 3), {leg: round(part, 3) for leg, part in hit.parts.items()})

    with Index.open(path) as index:  # another process, another day: the same answers
        hits = index.search("delete a folder with everything in it", k=1, weights={"dense": 1, "lexical": 0.3})
        print(hits[0].id, hits[0].metadata, hits.guarantee)
        print("like zipfile:", index.similar("zipfile", k=1).ids)
