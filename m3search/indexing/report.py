"""Reports: what a build did, what it left out, and which documents have nothing to search.

Owns the counting and the words; imports errors only. Invariant: counts are complete, the lists are bounded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from m3search.errors import InputError

OnError = Literal["raise", "skip"]
"""What happens at a record that cannot be used."""


def check_on_error(value: str) -> OnError:
    """The value itself, if it is one.

    Raises:
        InputError: it is neither "raise" nor "skip".
    """
    for known in get_args(OnError):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"on_error is {value!r}: give 'raise' (stop at the first bad record) or 'skip' (go on and report)")


@dataclass(frozen=True, slots=True)
class Skipped:
    """One record that was left out.

    Attributes:
        where: file and line, or "document 17".
        doc_id: its id; "" where it has none.
        kind: what sort of mistake.
        reason: the whole message.
    """

    where: str
    doc_id: str
    kind: str
    reason: str


@dataclass(slots=True)
class SkipReport:
    """Every record that a build with ``on_error="skip"`` left out.

    Attributes:
        limit: how many are remembered one by one; all are counted.
        count: how many there were.
        kinds: sort of mistake -> how many.
        records: the first `limit`.
    """

    limit: int = 1000
    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    records: list[Skipped] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, error: InputError) -> None:
        """Note the record that this error is about."""
        self.count += 1
        kind = error.kind or type(error).__name__
        self.kinds[kind] += 1
        if len(self.records) < self.limit:
            self.records.append(Skipped(error.where, error.doc_id, kind, str(error)))

    def summary(self, lines: int = 20) -> str:
        """For people: the counts by kind, then the first `lines` records, a line each."""
        if not self.count:
            return "no record was skipped"
        kinds = ", ".join(f"{kind}: {count:,}" for kind, count in self.kinds.most_common())
        shown = self.records[:lines]
        text = [f"{_counted(self.count, 'record')} skipped ({kinds})", *(f"  {record.reason}" for record in shown)]
        if self.count > len(shown):
            text.append(f"  ... and {self.count - len(shown):,} more")
        return "\n".join(text)

    def to_dict(self) -> dict[str, Any]:
        """For machines: ``{"count", "kinds", "records": [{"where", "id", "kind", "reason"}]}``."""
        records = [
            {"where": record.where, "id": record.doc_id, "kind": record.kind, "reason": record.reason}
            for record in self.records
        ]
        return {"count": self.count, "kinds": dict(self.kinds.most_common()), "records": records}


@dataclass(slots=True)
class EmptyReport:
    """Documents without any text, which no search of words or meaning can find.

    Attributes:
        limit: how many ids are remembered.
        count: how many documents there were.
        ids: the first `limit` ids.
    """

    limit: int = 10
    count: int = 0
    ids: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, doc_id: str) -> None:
        """Note a document without text."""
        self.count += 1
        if len(self.ids) < self.limit:
            self.ids.append(doc_id)

    def summary(self) -> str:
        """The one warning that a build gives."""
        ids = ", ".join(map(repr, self.ids)) + (", ..." if self.count > len(self.ids) else "")
        verb = "has" if self.count == 1 else "have"
        return (
            f"{_counted(self.count, 'document')} {verb} no text and will not be found by a search, only by id: {ids}; "
            "check the source if that is not meant"
        )

    def to_dict(self) -> dict[str, Any]:
        """For machines: ``{"count", "ids"}``."""
        return {"count": self.count, "ids": list(self.ids)}


@dataclass(slots=True)
class BuildReport:
    """What a build did, or an addition to an index.

    Attributes:
        documents: how many were indexed.
        passages: how many scored units they have.
        replaced: how many of them took the place of another of their id.
        resumed: how many of them an interrupted build had encoded before.
        skipped: records that were left out.
        empty: documents without text.
        seconds: how long it took, from the first document to the commit.
    """

    documents: int = 0
    passages: int = 0
    replaced: int = 0
    resumed: int = 0
    seconds: float = 0.0
    skipped: SkipReport = field(default_factory=SkipReport)
    empty: EmptyReport = field(default_factory=EmptyReport)

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "documents": self.documents,
            "passages": self.passages,
            "resumed": self.resumed,
            "seconds": self.seconds,
            "skipped": self.skipped.to_dict(),
            "empty": self.empty.to_dict(),
        }


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
