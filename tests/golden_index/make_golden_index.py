"""Make ``indexes/golden-v4``, which every later version must open, and ``expected.json``, what it must answer.

    python tests/golden_index/make_golden_index.py

Run once for a format: when it changes, keep the old ones, and add the next beside them; golden-v1, -v2 and -v3
are of formats 1 to 3 and were made by the same script. Every format answers the same. All vectors are written here, so no model
takes part. The index has every leg, two segments, passages, a document without text, one that was deleted, weights inside
and outside float16's range, and says that an encoder made it.
"""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

from m3search import Document, EncoderIdentity, Encodings, Index, Weights
from m3search.storage import IndexWriter
from m3search.storage.keys import MANIFEST_KEY

HERE = Path(__file__).parent
INDEXES = HERE.parents[1] / "indexes"
INDEX = INDEXES / "golden-v4"
ALL = (INDEXES / "golden-v1", INDEXES / "golden-v2", INDEXES / "golden-v3", INDEX)
EXPECTED = HERE / "expected.json"
VOCAB = 40
IDENTITY = EncoderIdentity("golden", "r1", {"model.safetensors": "0f" * 32}, "cls", 4, 3, VOCAB, 512)
DOCUMENTS = [
    Document(
        "zip", "Read a zip archive.\n\nWrite files into a zip archive.", "Archives", {"year": 1993, "tags": ["a", None]}
    ),
    Document("sockets", "A socket reads and writes bytes over the network.", "", {"nested": {"deep": [1.5, True]}}),
    Document("bücher/日本", "Die Bücherei öffnet um neun Uhr. 図書館は九時に開きます。", "Bücherei"),
    Document("gone", "This zip archive was deleted from the index."),
    Document("empty", ""),
    Document("locks", "A lock keeps two threads from writing the same file.\n\nThreads wait.\n\nOne reads.", "Threads"),
    Document("queues", "Threads read from a queue of files.", "Queues", {"year": 2001}),
]
PASSAGES = [2, 1, 1, 1, 0, 3, 1]
WEIGHTS = [  # token -> weight of every passage
    {3: 0.25, 7: 0.11},
    {3: 0.2, 7: 0.3, 9: 0.05},
    {11: 0.4, 9: 0.1},
    {20: 0.33, 21: 0.21, 22: 0.000001},
    {3: 0.5, 7: 0.5},
    {30: 0.3, 9: 0.125},
    {30: 0.2},
    {31: 0.1, 11: 0.05},
    {30: 0.15, 31: 0.35, 9: 0.07},
]
QUERIES = [
    ("read a zip archive", {3: 0.3, 7: 0.2}, {"dense": 1}),
    ("read a zip archive", {3: 0.3, 7: 0.2}, {"lexical": 1}),
    ("read a zip archive", {3: 0.3, 7: 0.2}, {"bm25": 1}),
    ("threads write files", {9: 0.4, 30: 0.1, 22: 1.0}, {"dense": 1, "lexical": 0.3, "bm25": 0.5}),
    ("図書館 Bücherei", {20: 0.5}, {"dense": 1, "lexical": 0.3, "bm25": 1, "colbert": 1}),
]


def vectors(rows, columns, seed):
    """Unit rows f32[rows, columns] by a formula, so that they are the same on every machine."""
    angles = np.arange(1, rows * columns + 1, dtype=np.float64).reshape(rows, columns) * (1.7 + seed)
    made = np.cos(angles * angles)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def csr(rows):
    """Token weights as CSR f32[rows, VOCAB]."""
    matrix = sparse.lil_array((len(rows), VOCAB), dtype=np.float32)
    for row, weights in enumerate(rows):
        for token, weight in weights.items():
            matrix[row, token] = weight
    return sparse.csr_array(matrix.tocsr())


def encodings():
    """Those of all documents' passages."""
    rows = len(WEIGHTS)
    colbert = [vectors(1 + row % 3, 3, 10 + row) for row in range(rows)]
    return Encodings(vectors(rows, 4, 0), csr(WEIGHTS), colbert, np.concatenate([[0], np.cumsum(PASSAGES)]))


def query(number):
    """Text, encodings and weights of a query."""
    text, weights, blend = QUERIES[number]
    return text, Encodings(vectors(1, 4, 50 + number), csr([weights]), [vectors(2, 3, 60 + number)]), blend


def answers(index):
    """What the golden test holds an index to, ready for JSON."""
    found = []
    for number in range(len(QUERIES)):
        text, given, blend = query(number)
        hits = index.search(text, 10, weights=blend, encodings=given)
        found.append([[hit.id, hit.score, dict(hit.parts), list(hit.span)] for hit in hits])
    info = {name: index.info()[name] for name in ("generation", "documents", "passages", "deleted", "segments", "legs")}
    documents = [[one.id, one.text, one.title, dict(one.metadata)] for one in index]
    return {"info": info, "documents": documents, "answers": found}


def main():
    """Build in a temporary folder, then keep a copy without locks."""
    shutil.rmtree(INDEX, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        Index.build(
            DOCUMENTS, path, encoder=None, encodings=encodings(), colbert="int8", segment_size=5, progress=False
        ).close()
        with IndexWriter(path) as writer:
            manifest = writer.manifest()
            config = replace(
                manifest.config, encoder=IDENTITY, weights=Weights(dense=1, lexical=0.3, bm25=0.5, colbert=1)
            )
            with writer.environment.write() as transaction:
                transaction.put(MANIFEST_KEY, replace(manifest, config=config).pack(MANIFEST_KEY))
        with Index.open(path, mode="w") as index:
            index.delete(["gone"])
            index.save(INDEX)
            EXPECTED.write_text(json.dumps(answers(index), ensure_ascii=False) + "\n", encoding="utf-8")
    (INDEX / "store" / "lock.mdb").unlink()


if __name__ == "__main__":
    main()
