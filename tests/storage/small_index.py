"""A small index with every leg, its answers, and a way to run Python in a process of its own."""

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse

from m3search import Document, Encodings, Index
from m3search.errors import M3SearchWarning
from m3search.storage import IndexWriter
from m3search.storage.keys import BUILDING_KEY, MANIFEST_KEY

WORDS = "zip archive read write socket http json parse thread lock queue file path time date random".split()
DIM, VOCAB, TOKEN_DIM = 8, 60, 4
BLENDS = [
    {"dense": 1},
    {"lexical": 1},
    {"bm25": 1},
    {"dense": 1, "lexical": 0.3, "bm25": 0.5},
    {"dense": 1, "colbert": 1},
]


def corpus(count=20, seed=0):
    """Documents of one to three passages, with given encodings of every kind."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, count)
    rows = int(sizes.sum())
    dense = rng.normal(size=(rows, DIM)).astype(np.float32)
    lexical = sparse.random_array((rows, VOCAB), density=0.2, rng=rng, format="csr", dtype=np.float32)
    colbert = [rng.normal(size=(rng.integers(1, 5), TOKEN_DIM)).astype(np.float32) for _ in range(rows)]
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(count)]
    documents = [Document(f"{seed}-{n:03}", text, f"title {n}", {"n": n}) for n, text in enumerate(texts)]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return documents, Encodings(dense, lexical, colbert, offsets)


def build(path, count=20, seed=0, *, segment_size=7, overwrite=False, dense="auto"):
    """Build the corpus of this seed at `path`; what a killed build has left there is discarded."""
    documents, encodings = corpus(count, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", M3SearchWarning)
        Index.build(
            documents,
            path,
            encoder=None,
            encodings=encodings,
            colbert="int8+bits",
            dense=dense,
            segment_size=segment_size,
            overwrite=overwrite,
        ).close()


def answers(index):
    """What an index says: blend by blend the hits with scores and texts, then all its documents."""
    query = corpus(1, seed=99)[1].rows(0, 1)
    found = [
        [
            (hit.id, hit.score, dict(hit.parts), hit.text)
            for hit in index.search("read the zip file", 50, weights=weights, encodings=query)
        ]
        for weights in BLENDS
    ]
    return found, list(index)


def opened_answers(path, **options):
    """The answers of the index at a path."""
    with Index.open(path, **options) as index:
        return answers(index)


def garbage(path, writer=None):
    """Files and segments' keys at a path that no manifest names."""
    with contextlib.nullcontext(writer) if writer else IndexWriter(path) as reader:
        manifests = [reader.manifest(key) for key in (MANIFEST_KEY, BUILDING_KEY)]
        named = {info.uuid for manifest in manifests if manifest is not None for info in manifest.segments}
        with reader.environment.read() as transaction:
            keys = {bytes(key) for key, _ in transaction.cursor()}
        stored = {key[1:17].hex() for key in keys if key[:1] == b"s"}
        files = {name for name in reader.directory.names() if name[:32] not in named or name.endswith(".part")}
        return files | (stored - named)


UNPRIVILEGED = """
import os, tempfile
from small_index import build, opened_answers
with tempfile.TemporaryDirectory() as folder:  # what is imported late may lie where only root can read
    build(folder)
    opened_answers(folder)
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
"""
"""Begins a script that must not have root's permissions."""


class Process:
    """A script in a Python of its own, which can import this module and the folder above; it is killed when the block ends."""

    def __init__(self, script, *arguments):
        folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                f"import sys; sys.path[:0] = {folders!r}\n{script}",
                *map(str, arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # may fork
        )
        self.pid = self._process.pid

    def line(self):
        """The next line it prints, "" where it ended."""
        return self._process.stdout.readline().strip()

    def say(self, line):
        """Send it a line."""
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def end(self, timeout=120):
        """Wait for its end: the exit code, and what it printed."""
        out, _ = self._process.communicate(timeout=timeout)
        return self._process.returncode, out

    def kill(self):
        """Kill it as the system would, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()
        self._process.stdin.close()
        self._process.stdout.close()
