"""EncodedTexts: real short texts as a collection, with the vectors and the term weights that the embedded encoder gives them.

A document is a title and the first sentences under it: of BEIR folders in English, then of Debian's package descriptions.
Queries are the folders' own, and titles of Debian descriptions whose documents go without them. Nothing that is read here is
written anywhere: the collection holds numbers only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from lexical.growing_array import GrowingArray
from lexical.texts import DEBIAN, Text, sources
from scipy import sparse

from hybrid.collection import Query, save_queries
from hybrid.world import QUERIES, TUNING
from m3search import Encoder

VERSION = 1
"""Grows whenever the same texts would give another collection."""

ENGLISH = ("cacm", "cisi", "cranfield", "scifact")
"""BEIR folders that are read where they are there."""

SENTENCES = 3
FEWEST_WORDS = 3

_HELD_OUT = 50  # one description in so many gives its title away as a query
_BATCH = 1000


def write(folder: Path, apt: Path, collections: Path | None, limit: int) -> dict[str, Any]:
    """Reads and encodes up to `limit` documents, with one thread; gives what the collection is.

    Raises:
        ValueError: there are no texts, or no queries among them.
    """
    encoder = Encoder.load("mini", threads=1)
    asked = list(_questions(collections))
    taken: dict[str, int] = {}
    started = time.process_time()
    with _Rows(folder, limit, encoder) as rows:
        for source, content, title in _documents(apt, collections):
            if rows.count == limit:
                break
            rows.append(content)
            taken[source] = taken.get(source, 0) + 1
            if title:
                asked.append(title)
    count = rows.count
    if not count or len(asked) < 2:
        raise ValueError(
            f"there are {count:,} short texts and {len(asked):,} queries: name a folder of BEIR folders with --collections, or "
            "fetch package descriptions with apt-get update -o Acquire::Languages=en"
        )
    queries = _encoded(encoder, asked)
    save_queries(folder, queries[:QUERIES], queries[QUERIES : QUERIES + TUNING] or queries[-TUNING:])
    return {
        "kind": "texts",
        "title": f"{count:,} real short texts, mini's {encoder.dim} dimensions",
        "documents": count,
        "dim": encoder.dim,
        "vocabulary": encoder.vocab_size,
        "sources": {name: number for name, number in taken.items() if number},
        "encoding_seconds": round(time.process_time() - started),
    }


class _Rows:
    """What the encoder made of the documents so far, in files."""

    def __init__(self, folder: Path, limit: int, encoder: Encoder) -> None:
        self.count = 0
        self._folder, self._encoder = folder, encoder
        self._vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (limit, encoder.dim))
        self._ends = [np.zeros(1, np.int64)]
        self._terms, self._weights = (
            GrowingArray(folder / "terms.npy", "<u4"),
            GrowingArray(folder / "weights.npy", "<f2"),
        )
        self._batch: list[str] = []

    def append(self, content: str) -> None:
        self._batch.append(content)
        self.count += 1
        if len(self._batch) == _BATCH:
            self._encode()

    def _encode(self) -> None:
        made = self._encoder.encode(self._batch)
        lexical = half(made.lexical)
        self._vectors[self.count - len(self._batch) : self.count] = made.dense
        self._ends.append(np.diff(lexical.indptr).astype(np.int64))
        self._terms.append(lexical.indices)
        self._weights.append(lexical.data)
        self._batch.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._batch and exception[0] is None:
            self._encode()
        self._terms.close()
        self._weights.close()
        np.save(self._folder / "ends.npy", np.cumsum(np.concatenate(self._ends)))
        if self.count < len(self._vectors):  # fewer than there was room for
            np.save(self._folder / "shorter.npy", self._vectors[: self.count])
            (self._folder / "shorter.npy").replace(self._folder / "vectors.npy")


def half(matrix: sparse.csr_array) -> sparse.csr_array:
    """The same weights as f16 values; those that become 0 go."""
    row = sparse.csr_array(matrix, copy=True)
    row.data = row.data.astype(np.float16).astype(np.float32)
    row.eliminate_zeros()
    row.sort_indices()
    return row


def _documents(apt: Path, collections: Path | None) -> Iterator[tuple[str, str, str]]:
    """Source, content, and the title that is a query: empty but for held out ones. Each content once."""
    found = sources(apt, collections)
    english = [name for name in ENGLISH if name in found]
    english += [name for name in found if name.startswith(DEBIAN) and name.endswith(("_Packages", "Translation-en"))]
    seen: set[bytes] = set()
    for name in english:
        for text in found[name]:
            content, title = _content(text, from_debian=name.startswith(DEBIAN))
            key = hashlib.blake2b(content.encode(), digest_size=8).digest()
            if content.count(" ") < FEWEST_WORDS - 1 or key in seen:
                continue
            seen.add(key)
            yield (DEBIAN if name.startswith(DEBIAN) else name), content, title


def _content(text: Text, *, from_debian: bool) -> tuple[str, str]:
    sentences = text.sentences[:SENTENCES]
    digest = hashlib.blake2b(text.title.encode(), digest_size=2).digest()
    if from_debian and len(sentences) == SENTENCES and int.from_bytes(digest) % _HELD_OUT == 0:
        return " ".join(sentences), text.title
    return " ".join(piece for piece in (text.title, *sentences) if piece), ""


def _questions(collections: Path | None) -> Iterator[str]:
    for name in ENGLISH if collections is not None else ():
        path = Path(collections or "") / name / "queries.jsonl"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                yield from (json.loads(line)["text"] for line in lines)


def _encoded(encoder: Encoder, texts: list[str]) -> list[Query]:
    """Queries that have terms, in an order that has nothing to do with their sources'."""
    made = encoder.encode(texts, query=True)
    rows = sparse.csr_array(made.lexical)
    rows.sort_indices()
    queries = []
    for number in np.random.default_rng(0).permutation(len(texts)):
        own = slice(rows.indptr[number], rows.indptr[number + 1])
        if own.start < own.stop:
            queries.append(Query(made.dense[number], rows.indices[own].astype(np.uint32), rows.data[own]))
    return queries
