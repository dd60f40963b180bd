"""EncodedCollection: a BEIR folder's passages and judged queries as the embedded encoder sees them.

Passages are cut as a build cuts them, and encoded once: a build of the collection then finds them in memory, so an index of
every codec is the one that a user would get.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3search import Document, Encoder, Encodings
from m3search.analysis.passages import Cutter
from m3search.evaluation import Dataset, load_beir
from m3search.indexing.sources import open_source, read_documents
from rerank.workload import Workload


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCollection:
    """Documents and queries.

    Attributes:
        name: its folder's.
        encoder: remembers what it made of the passages.
        documents: as they were read.
        encodings: dense vectors, lexical weights and token vectors of their passages.
        data: judged queries.
        queries: dense and token vectors of these, in their order.
    """

    name: str
    encoder: Encoder
    documents: Sequence[Document]
    encodings: Encodings
    data: Dataset
    queries: Encodings

    @classmethod
    def of(cls, folder: Path, data_split: str) -> EncodedCollection:
        """Reads and encodes, with one thread."""
        encoder = Encoder.load("mini", threads=1)
        documents = [accepted.document for accepted in read_documents(open_source(folder))]
        passages = Cutter(encoder.room, encoder.token_spans).split(documents)
        contents = list(dict.fromkeys(passage.content for found in passages for passage in found))
        encodings = encoder.encode(contents, colbert=True)
        data = load_beir(folder, data_split)
        asked = encoder.encode(list(data.queries.values()), query=True, lexical=False, colbert=True)
        encoder.encode = _remembering(encoder.encode, contents, encodings)  # type: ignore[method-assign]
        return cls(folder.name, encoder, documents, encodings, data, asked)

    def workload(self, candidates: int) -> Workload:
        """Every query orders its best passages by the dense vectors, as a rerank does."""
        dense, asked = self.encodings.dense, self.queries.dense
        assert dense is not None
        assert asked is not None
        assert self.encodings.colbert is not None
        assert self.queries.colbert is not None
        numbers: list[NDArray[np.int64]] = [
            np.sort(np.argsort(-(dense @ vector), kind="stable")[:candidates]) for vector in asked
        ]
        title = f"{self.name}, mini: the best {candidates} passages by dense vectors, {dense.shape[1]} dimensions"
        return Workload(self.name, title, self.encodings.colbert, self.queries.colbert, numbers)


def _remembering(
    encode: Callable[..., Encodings], texts: Sequence[str], encodings: Encodings
) -> Callable[..., Encodings]:
    """The same function; what it made of these passages before, it gives again."""
    places = {text: place for place, text in enumerate(texts)}
    dense, lexical, colbert = encodings.dense, encodings.lexical, encodings.colbert
    assert dense is not None
    assert colbert is not None

    def remembered(wanted: Sequence[str], *, query: bool = False, **outputs: Any) -> Encodings:
        if query or not all(text in places for text in wanted):
            return encode(wanted, query=query, **outputs)
        rows = np.array([places[text] for text in wanted], np.int64)
        return Encodings(dense=dense[rows], lexical=lexical[rows], colbert=[colbert[row] for row in rows])

    return remembered
