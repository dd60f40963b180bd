"""Trail: a running digest of the documents that a build has taken, by which one that goes on knows its source again.

Imports the journal's marks, the source's records and errors. Invariant: a digest depends on which documents came and in what
order, and on their places among the records, but not on what the source is called.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgpack

from m3search.errors import ResumeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from m3search.indexing.sources.record import Accepted
    from m3search.storage.journal import Mark

_DIGEST_BYTES = 16


class Trail:
    """Digests every document as it is taken, and compares with the marks of an interrupted build.

    Attributes:
        documents: how many were taken.
    """

    def __init__(self, path: Path, marks: Sequence[Mark] = ()) -> None:
        self.documents = 0
        self._path = path
        self._hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._marks = list(marks)
        self._before = 0

    @property
    def following(self) -> bool:
        """Whether the marks of an interrupted build are not all reached yet."""
        return bool(self._marks)

    def take(self, accepted: Accepted) -> bytes:
        """The digest with this document.

        Raises:
            ResumeError: the source is not that of the interrupted build.
        """
        document = accepted.document
        fields = [accepted.ordinal, document.id, document.title, document.text, dict(document.metadata)]
        self._hash.update(msgpack.packb(fields, use_bin_type=True))
        self.documents += 1
        digest = self._hash.copy().digest()
        while self._marks and self._marks[0].documents == self.documents:
            if self._marks[0].digest != digest:
                raise ResumeError(
                    f"the source is not the one that the interrupted build in {self._path} read: something among documents "
                    f"{self._before + 1:,} to {self.documents:,} has changed; {_ADVICE}"
                )
            self._before = self.documents
            del self._marks[0]
        return digest

    def check_end(self) -> None:
        """Make sure that the source did not end before the interrupted build did.

        Raises:
            ResumeError: it did.
        """
        if self._marks:
            raise ResumeError(
                f"the source has {self.documents:,} documents, but the interrupted build in {self._path} had taken "
                f"{self._marks[-1].documents:,}; {_ADVICE}"
            )


_ADVICE = "give the source as it was to go on, or leave resume out to begin anew"
