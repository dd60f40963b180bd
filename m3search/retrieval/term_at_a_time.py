"""Term-at-a-time scoring of a field: every posting of every query term is added up.

The exhaustive traversal that the lexical and the BM25 leg share. Imports storage's readers. Invariant: `search_terms` and
`complete_terms` add the same products in the same order, so their scores are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.records import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage import Segment

Products = Callable[["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[Any]"], "NDArray[np.float64]"]
"""(query term of each posting, passage of each posting, stored value of each posting) -> what it adds to the score."""


def search_terms(
    segment: Segment,
    field: str,
    numbers: NDArray[np.int64],
    products: Products,
    bitmap: NDArray[np.uint8] | None,
    depth: int,
) -> Candidates:
    """The best `depth` allowed passages that hold a query term and score above 0.

    Args:
        segment: where to search.
        field: "lexical" or "bm25".
        numbers: i64[q] term numbers in this segment, ascending but for -1, which is a term it does not have.
        products: see `Products`.
        bitmap: passages that may be found.
        depth: how many.
    """
    scores = np.zeros(segment.info.passages)
    postings = 0
    for term, number in enumerate(numbers):
        if number >= 0:
            docids, values = segment.fields[field].posting(int(number))
            scores[docids] += products(np.full(len(docids), term), docids.astype(np.int64), values)
            postings += len(docids)
    matches = scores > 0
    if bitmap is not None:
        matches &= np.unpackbits(bitmap, count=len(scores), bitorder="little").astype(bool)
    rows = np.flatnonzero(matches)
    # what does not match scores 0
    return Candidates.top(rows + segment.base, scores[rows], depth, floor=0.0, postings=postings)


def complete_terms(
    segment: Segment, field: str, numbers: NDArray[np.int64], products: Products, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The exact scores f64[n] of these passages, from the forward store."""
    known = np.flatnonzero(numbers >= 0)
    sizes, terms, values = segment.fields[field].gather(rows)
    owners = np.repeat(np.arange(len(rows)), sizes)
    places = np.searchsorted(numbers[known], terms)
    hits = places < len(known)
    hits[hits] = numbers[known][places[hits]] == terms[hits]
    owners, values, queried = owners[hits], values[hits], known[places[hits]]
    weights = products(queried, rows[owners], values)
    return np.bincount(owners, weights=weights, minlength=len(rows)).astype(np.float64, copy=False)
