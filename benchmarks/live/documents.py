"""Documents: some of a collection, with their encodings, as an index takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filters.collection import Collection

from m3search import Document, Encodings, Index


def given(collection: Collection, start: int, stop: int, word: str = "") -> tuple[list[Document], Encodings]:
    """Documents `start` to `stop`; a word stands before the text of each."""
    documents = [Document(str(number), f"{word} {collection.text(number)}") for number in range(start, stop)]
    return documents, Encodings(collection.vectors[start:stop], collection.weights[start:stop])


def built(collection: Collection, documents: int, path: Path, **options: Any) -> Index:
    """An index of the first documents."""
    made, encodings = given(collection, 0, documents)
    return Index.build(
        made, path, encoder=None, encodings=encodings, bm25={"language": None}, progress=False, **options
    )
