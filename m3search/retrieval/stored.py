"""Stored encodings: a document's vectors read back, to be exported or to ask with.

Imports storage's readers and records. Invariant: what comes back is what scores are computed from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from m3search.errors import QueryError
from m3search.records import Encodings

if TYPE_CHECKING:
    from m3search.storage import Segment, Snapshot


def stored_encodings(snapshot: Snapshot, segment: Segment, number: int, *, colbert: bool = True) -> Encodings:
    """A document's vectors as they are stored, with its passages as rows; no outputs where the index has no vectors."""
    start, stop = (int(end) for end in segment.passage_ends[number : number + 2])
    rows = np.arange(start, stop)
    lexical = None
    if "lexical" in segment.fields:
        field = segment.fields["lexical"]
        sizes, terms, values = field.gather(rows)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        shape = (len(rows), snapshot.manifest.config.vocab_size)
        lexical = sparse.csr_array((values.astype(np.float32), field.terms[terms].astype(np.int64), ends), shape=shape)
    dense = None if segment.vectors is None else np.array(segment.vectors[start:stop])
    tokens = [segment.tokens.decode(int(row)) for row in rows] if colbert and segment.tokens is not None else None
    if dense is None and lexical is None and tokens is None:  # an index of terms alone
        return Encodings()
    return Encodings(dense, lexical, tokens, offsets=np.array([0, len(rows)]))


def as_query(stored: Encodings) -> Encodings | None:
    """One row that stands for all passages of a document; None where the index has no vectors.

    Raises:
        QueryError: the index has vectors, but this document has none.
    """
    if not stored.outputs:
        return None
    if not len(stored):
        raise QueryError("this document has no text and no vectors to compare")
    dense = None if stored.dense is None else stored.dense.mean(axis=0, keepdims=True)
    lexical = None if stored.lexical is None else sparse.csr_array(stored.lexical.max(axis=0)).reshape(1, -1).tocsr()
    return Encodings(dense=dense, lexical=lexical)
