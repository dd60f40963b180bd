"""Schema: which types the fields of the metadata have, held against every document as it comes.

Imports filtering. Invariant: a field has values of one kind; the first document that has it decides, or the index that is
added to. Dates are strings that say a date, so in a build they decide nothing: fields whose strings are all dates are dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from m3search.errors import DocumentError
from m3search.filtering import Kind, flattened, instants, typed_values

if TYPE_CHECKING:
    from m3search.filtering import FieldType
    from m3search.indexing.sources.record import Accepted
    from m3search.records import Document

_MOST = 10_000  # names of fields that are remembered
_WORDS: dict[Kind, str] = {
    Kind.STRING: "strings",
    Kind.NUMBER: "numbers",
    Kind.BOOLEAN: "booleans",
    Kind.DATE: "dates (ISO 8601)",
    Kind.OBJECT: "lists of lists, of mappings or of several types",
}
_LONGEST_SHOWN = 60


class Schema:
    """The kinds of fields so far.

    It is strict about types, and lenient about what cannot be compared anyway: see `filtering.fields`.
    """

    def __init__(self, types: Mapping[str, FieldType] | None = None) -> None:
        """Begins with the fields of the index that is added to; None: with none."""
        found = {name: one.kind for name, one in (types or {}).items()}
        self._kinds: dict[str, Kind] = {name: kind for name, kind in found.items() if kind is not Kind.MIXED}

    def misfit(self, accepted: Accepted) -> DocumentError | None:
        """Why a document's metadata do not fit; None where they do."""
        document = accepted.document
        for name, value in flattened(document.metadata):
            known = self._kinds.get(name)
            if known is None:
                continue
            kind, values = typed_values(value)
            if kind is None or kind is known:
                continue
            if known is Kind.DATE and kind is Kind.STRING and all(instants(text) is not None for text in values):
                continue
            where, doc_id = accepted.where, document.id
            return DocumentError(
                f"{where} (id {doc_id!r}): metadata {name!r} is {_described(value)}, and other documents have "
                f"{_WORDS[known]} there: give values of one type, or this one another name",
                where=where,
                doc_id=doc_id,
                kind="metadata type",
            )
        return None

    def learn(self, document: Document) -> None:
        """Remember the fields of a document that fits."""
        kinds = self._kinds
        for name, value in flattened(document.metadata):
            if name not in kinds and len(kinds) < _MOST:
                kind, _ = typed_values(value)
                if kind is not None:
                    kinds[name] = kind


def _described(value: Any) -> str:  # noqa: ANN401 - JSON-like values
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + '…'}"
