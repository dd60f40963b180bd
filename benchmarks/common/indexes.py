"""Indexes that benchmarks keep between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.progress import say
from m3search import Encoder, Index, errors
from m3search.indexing.sources import open_source


def kept_index(folder: Path, *places: Path, encoder: str | Encoder, fresh: bool = False, **options: Any) -> Index:
    """The index of a BEIR folder from the first place that has one, or else built in the last one.

    Args:
        folder: the collection.
        places: where it may be.
        encoder: of the index.
        fresh: build it again.
        options: of `Index.build`.
    """
    for place in () if fresh else places:
        try:
            return Index.open(place, encoder=encoder)
        except errors.IndexNotFoundError:
            continue
    places[-1].parent.mkdir(parents=True, exist_ok=True)
    say(f"building {places[-1]}")
    return Index.build(open_source(folder), places[-1], encoder=encoder, overwrite=True, **options)
