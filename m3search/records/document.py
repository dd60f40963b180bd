"""Document: what a user puts in and gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """A text with an id, an optional title and metadata.

    Attributes:
        id: the user's own name for it; unique in an index.
        text: the body.
        title: stands before the text for the encoder and for BM25.
        metadata: JSON-like values (str, int, float, bool, None, lists and mappings of these).
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        r"""What encoder and BM25 see: ``title\ntext``, or the text alone where there is no title."""
        return f"{self.title}\n{self.text}" if self.title else self.text
