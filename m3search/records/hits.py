"""Hit and Hits: the answer to a query."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

from m3search.errors import QueryError
from m3search.records.document import Document
from m3search.records.snippet import LENGTH, Snippet
from m3search.records.tree import Tree


class Explained(Protocol):
    """Why something is as it is; ``print`` draws it as a tree."""

    def tree(self) -> Tree:
        """As lines under lines."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The same for machines."""
        ...


@dataclass(slots=True, eq=False)
class Hit:
    """One document of an answer; its text and metadata are loaded when they are first read.

    Attributes:
        id: the user's id.
        score: the blend, weighted mean of `parts`.
        rank: 1 for the best.
        parts: leg -> its unweighted score as it enters the blend, every one computed exactly.
        span: the best passage's place in `text`, in characters.
    """

    id: str
    score: float
    rank: int
    parts: Mapping[str, float]
    span: tuple[int, int]
    _load: Callable[[], Document] = field(repr=False)
    _explain: Callable[[], Explained] | None = field(default=None, repr=False)
    _cut: Callable[[str, int], Snippet] | None = field(default=None, repr=False)
    _document: Document | None = field(default=None, repr=False)

    @property
    def document(self) -> Document:
        """The whole document."""
        if self._document is None:
            self._document = self._load()
        return self._document

    @property
    def title(self) -> str:
        """The document's title."""
        return self.document.title

    @property
    def text(self) -> str:
        """The document's whole text; `passage` is the part that scored best."""
        return self.document.text

    @property
    def passage(self) -> str:
        """The part of the text that scored best: ``text[span[0]:span[1]]``."""
        return self.document.text[slice(*self.span)]

    @property
    def snippet(self) -> Snippet:
        """The piece of the passage that counted most, with the words that did marked: ``str(hit.snippet)``.

        BM25's terms are marked, and the encoder's tokens where it is loaded.
        """
        if self._cut is None:
            text, start = self.passage, self.span[0]
            return Snippet(text[:LENGTH], (start, start + len(text[:LENGTH])), cut=(False, len(text) > LENGTH))
        return self._cut(self.passage, self.span[0])

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The document's metadata."""
        return self.document.metadata

    def explain(self) -> Explained:
        """What the score is made of: the legs' parts, the tokens that matched, ColBERT's best tokens; print it.

        Raises:
            QueryError: the search was not told to explain.
        """
        if self._explain is None:
            raise QueryError("this hit was not asked to explain itself: search with explain=True")
        return self._explain()

    def to_dict(self) -> dict[str, Any]:
        """Everything of this hit, ready for JSON, which has no NaN and no infinity: these become None."""
        return {
            "rank": self.rank,
            "id": self.id,
            "score": _plain(self.score),
            "parts": _plain(self.parts),
            "title": self.title,
            "text": self.text,
            "span": list(self.span),
            "snippet": str(self.snippet),
            "metadata": _plain(self.metadata),
        }


class LazyHits(Sequence[Hit]):
    """A list of hits each of which is made, once, when it is looked at: an answer of a thousand is seldom read whole.

    Args:
        ids: of all hits, best first.
        make: place -> the hit there.
    """

    __slots__ = ("_made", "_make", "ids")

    def __init__(self, ids: Sequence[str], make: Callable[[int], Hit]) -> None:
        self.ids = ids
        self._make = make
        self._made: list[Hit | None] = [None] * len(ids)

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | list[Hit]:
        places = range(len(self._made))[index]
        return self._at(places) if isinstance(places, int) else [self._at(place) for place in places]

    def __iter__(self) -> Iterator[Hit]:
        return map(self._at, range(len(self._made)))

    def _at(self, place: int) -> Hit:
        hit = self._made[place]
        if hit is None:
            hit = self._made[place] = self._make(place)
        return hit

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(frozen=True, slots=True, eq=False)
class Hits(Sequence[Hit]):
    """The answer to one query, best first; a sequence of `Hit`.

    Attributes:
        guarantee: what is proven of this answer: "exact", "exact up to ties at rank k", "exact over candidates" (an
            approximate dense index proposed them), "exact over the rerank set", "exact over the rerank set's shortlist"
            (signs of token vectors chose whom these score), "budget reached" (nothing more could be proven in time).
        bound: no document outside the answer's first stage scores above this (-inf when none is left).
        kth_score: the first-stage score at rank k, which `bound` is held against; None with fewer than k hits.
        explanation: what `explain` gives; None where the search was not told to explain.
    """

    hits: Sequence[Hit]
    guarantee: str = "exact"
    bound: float = float("-inf")
    kth_score: float | None = None
    _statistics: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict, repr=False)
    explanation: Explained | None = None

    @property
    def statistics(self) -> Mapping[str, Any]:
        """Counts and seconds of the search; gathered when they are first asked for."""
        if callable(self._statistics):
            object.__setattr__(self, "_statistics", self._statistics())
        assert isinstance(self._statistics, Mapping)
        return self._statistics

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    @property
    def ids(self) -> list[str]:
        """The hits' ids, best first."""
        return list(self.hits.ids) if isinstance(self.hits, LazyHits) else [hit.id for hit in self.hits]

    def explain(self) -> Explained:
        """The plan, and what became of it: depths, postings, completions, bounds, times; print it.

        Raises:
            QueryError: the search was not told to explain.
        """
        if self.explanation is None:
            raise QueryError("this answer was not asked to explain itself: search with explain=True")
        return self.explanation

    def to_dict(self) -> dict[str, Any]:
        """The whole answer, ready for JSON, explained if it can be; NaN and infinity become None."""
        hits = [hit.to_dict() for hit in self.hits]
        made = {
            "hits": hits,
            "guarantee": self.guarantee,
            "bound": _plain(self.bound),
            "kth_score": _plain(self.kth_score),
            "statistics": _plain(self.statistics),
        }
        if self.explanation is not None:
            made["explanation"] = _plain(self.explanation.to_dict())
            for hit, own in zip(self.hits, hits, strict=True):
                own["explanation"] = _plain(hit.explain().to_dict())
        return made

    def _repr_html_(self) -> str:
        """A table, for notebooks; texts are escaped."""
        legs = list(self.hits[0].parts) if self.hits else []
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ["#", "score", *legs, "id", "text"])
        rows = "".join(_html_row(hit, legs) for hit in self.hits)
        note = html.escape(f"{len(self.hits)} hits, {self.guarantee}")
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{note}</p>"


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON-like values
    """JSON-like values as json can write them under ``allow_nan=False``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _html_row(hit: Hit, legs: Sequence[str]) -> str:
    numbers = "".join(f"<td>{value:.4f}</td>" for value in [hit.score, *(hit.parts[leg] for leg in legs)])
    text = hit.snippet.html()
    body = f"<b>{html.escape(hit.title)}</b><br>{text}" if hit.title else text
    return f"<tr><td>{hit.rank}</td>{numbers}<td>{html.escape(hit.id)}</td><td>{body}</td></tr>"
