"""m3search: hybrid search whose answers are proven.

Owns the public names, each imported from its room on first use, so that ``import m3search`` loads neither torch
nor faiss.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3search import errors
    from m3search.encoder import Encoder
    from m3search.index import Index
    from m3search.records import (
        Document,
        EncoderIdentity,
        Encodings,
        Hit,
        Hits,
        Passages,
        Weights,
        lexical_matching_score,
    )

__version__ = "0.1.0"

__all__ = [
    "Document",
    "Encoder",
    "EncoderIdentity",
    "Encodings",
    "Hit",
    "Hits",
    "Index",
    "Passages",
    "Weights",
    "errors",
    "lexical_matching_score",
]

_HOMES = {
    "Document": "m3search.records",
    "Encoder": "m3search.encoder",
    "EncoderIdentity": "m3search.records",
    "Encodings": "m3search.records",
    "Hit": "m3search.records",
    "Hits": "m3search.records",
    "Index": "m3search.index",
    "Passages": "m3search.records",
    "Weights": "m3search.records",
    "lexical_matching_score": "m3search.records",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    if name == "errors":
        return importlib.import_module("m3search.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'm3search' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
