"""Explanation: why an answer is what it is: the plan with what became of it, and for a hit what its score is made of.

Imports retrieval's matches and the trace. Invariant: the contributions of a hit add up to its score, to 1e-6; figures are those
of the search itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from m3search.planning.plan import Plan
from m3search.planning.trace import Round, Trace
from m3search.records import Tree
from m3search.retrieval.matches import BestToken, Match, best_tokens, bm25_matches, lexical_matches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from m3search.planning.ranking import Ranking
    from m3search.records import Document
    from m3search.retrieval import Query
    from m3search.storage import Segment, Snapshot

_SHOWN = 10  # tokens of a leg in a tree; to_dict() has all


class Spelling(NamedTuple):
    """How an encoder's tokens are written.

    Attributes:
        token: id -> text.
        spans: texts -> per text i64[t, 2], the characters of each ordinary token.
        tokens: texts -> per text i64[t], the ids of these, and their characters.
    """

    token: Callable[[int], str]
    spans: Callable[[Sequence[str]], Sequence[NDArray[np.int64]]]
    tokens: Callable[[Sequence[str]], Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a search did; print it.

    Attributes:
        plan: that was followed.
        trace: what was done, round by round.
        guarantee: what is proven.
        bound: what no unseen document exceeds.
        kth_score: what the bound was held against; None with fewer documents.
        seconds: from the call to the hits.
    """

    plan: Plan
    trace: Trace
    guarantee: str
    bound: float
    kth_score: float | None
    seconds: float

    @classmethod
    def of(cls, ranking: Ranking, seconds: float) -> Self:
        """Of a ranking that was made."""
        return cls(ranking.plan, ranking.trace, str(ranking.guarantee), ranking.bound, ranking.kth_score, seconds)

    def tree(self) -> Tree:
        """As a tree of lines."""
        plan, trace = self.plan, self.trace
        root = Tree(f"{plan.title} in {_ms(self.seconds)}: {self.guarantee}")
        if trace.encode_seconds:
            root.add(f"encode the query: {_ms(trace.encode_seconds)}")
        for number, one in enumerate(trace.rounds, start=1):
            _add_round(root, number, one, plan)
        if plan.reranks and trace.rounds:
            weights = ", ".join(f"{leg} {weight:g}" for leg, weight in plan.weights.items())
            some = f" of {trace.estimated:,} that were estimated" if trace.estimated else ""
            root.add(f"rerank {trace.reranked:,} documents{some} by {weights}: {_ms(trace.rerank_seconds)}")
        root.add(f"ids and order: {_ms(trace.order_seconds)}")
        return root

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON but for infinite numbers, which `Hits.to_dict` makes None."""
        return {
            "plan": self.plan.to_dict(),
            "trace": self.trace.to_dict(),
            "guarantee": self.guarantee,
            "bound": self.bound,
            "kth_score": self.kth_score,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        return str(self.tree())

    __repr__ = __str__


def _add_round(root: Tree, number: int, one: Round, plan: Plan) -> None:
    what = (
        f"round {number}, {one.depth:,} of each leg" if one.legs else f"score all {one.candidates:,} that are allowed"
    )
    node = root.add(what)
    for leg, asked in one.legs.items():
        effort = f", effort {asked.effort:,}" if asked.effort else ""
        rest = "nothing left" if asked.bound == -math.inf else f"the rest at most {asked.bound:.4f}"
        node.add(
            f"{leg}, weight {plan.first[leg]:g}: {asked.returned:,} proposed, {rest}, {asked.postings:,} postings"
            f"{effort}: {_ms(asked.seconds)}"
        )
    completed = ", ".join(f"{count:,} {leg}" for leg, count in one.completed.items() if count) or "none missing"
    node.add(
        f"complete: {one.candidates:,} candidates, {one.kept:,} kept, scores computed: {completed}: "
        f"{_ms(one.complete_seconds)}"
    )
    kth = "too few documents" if one.kth_score is None else f"score {one.kth_score:.6f} at rank {one.documents:,}"
    bound = "nothing unseen" if one.bound == -math.inf else f"unseen at most {one.bound:.6f}"
    slack = f" (± {one.slack:.1g})" if one.slack else ""
    node.add(f"certify: {kth}, {bound}{slack}: {one.proven or 'not proven'}: {_ms(one.certify_seconds)}")


@dataclass(frozen=True, slots=True)
class Part:
    """What one leg has in a score.

    Attributes:
        leg: its name.
        raw: the leg's exact score of the passage.
        value: what that counts: the same in a raw blend.
        weight: of the leg.
        contribution: weight * value / sum of weights; these add up to the hit's score.
    """

    leg: str
    raw: float
    value: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class TokenMatch:
    """A token that query and passage share, written out.

    Attributes:
        token: as text where the encoder could be asked, else the id.
        query_weight: what the query gives it.
        document_weight: what the passage gives it.
        product: what it adds to the leg's score.
    """

    token: str
    query_weight: float
    document_weight: float
    product: float


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A token of the query, and the passage's nearest to it.

    Attributes:
        query_token: as text, or "#" and its place.
        document_token: the same of the passage.
        similarity: inner product of their vectors.
    """

    query_token: str
    document_token: str
    similarity: float


@dataclass(frozen=True, slots=True)
class HitExplanation:
    """What a hit's score is made of; print it.

    Attributes:
        id: of the document.
        score: the sum of the contributions.
        parts: of every leg that has a part in it.
        fusion: how the parts were made one.
        matches: "lexical" and "bm25" -> shared tokens, the largest product first.
        pairs: of ColBERT, in the order of the query.
    """

    id: str
    score: float
    fusion: str
    parts: Sequence[Part]
    matches: Mapping[str, Sequence[TokenMatch]]
    pairs: Sequence[TokenPair]

    def tree(self) -> Tree:
        """As a tree of lines."""
        root = Tree(f"{self.id}: {self.score:.6f}, {self.fusion}")
        for part in self.parts:
            value = "" if part.value == part.raw else f" -> {part.value:.6f}"
            node = root.add(f"{part.leg}: {part.raw:.6f}{value}, weight {part.weight:g}, adds {part.contribution:.6f}")
            matches = self.matches.get(part.leg, ())
            for match in matches[:_SHOWN]:
                node.add(f"{match.token}: {match.query_weight:.4f} x {match.document_weight:.4f} = {match.product:.4f}")
            if len(matches) > _SHOWN:
                node.add(f"and {len(matches) - _SHOWN:,} more")
            if part.leg == "colbert":
                for pair in self.pairs:
                    node.add(f"{pair.query_token} ~ {pair.document_token}: {pair.similarity:.4f}")
        return root

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return str(self.tree())

    __repr__ = __str__


def explained(
    ranking: Ranking,
    at: int,
    snapshot: Snapshot,
    query: Query | None,
    text: str,
    document: Document,
    spelling: Spelling | None,
) -> HitExplanation:
    """The explanation of one document of a ranking.

    Args:
        ranking: what was found.
        at: the document's place.
        snapshot: where.
        query: what was asked; None where nothing was.
        text: of the query, "" of encodings.
        document: that document.
        spelling: how tokens are written; None: as numbers.
    """
    raw, values, weights = ranking.parts_of(at), ranking.values_of(at), ranking.weights_of(at)
    total = sum(weights.values()) if weights else 1.0
    parts = [Part(leg, raw[leg], values[leg], weight, values[leg] * weight / total) for leg, weight in weights.items()]
    segment = snapshot.segments[ranking.found.owners[at]]
    row = int(ranking.passages[at]) - segment.base
    matches: dict[str, Sequence[TokenMatch]] = {}
    pairs: list[TokenPair] = []
    if query is not None:
        if "lexical" in weights:
            write = str if spelling is None else spelling.token
            matches["lexical"] = [_written(match, write) for match in lexical_matches(query, segment, row)]
        if "bm25" in weights:
            matches["bm25"] = [_written(match, str) for match in bm25_matches(query, snapshot, segment, row)]
        if "colbert" in weights:
            pairs = _pairs(best_tokens(query, segment, row), query, text, document, segment, row, spelling)
    return HitExplanation(
        ranking.found.ids[at], float(ranking.scores[at]), str(ranking.plan.fusion), parts, matches, pairs
    )


def _written(match: Match, write: Callable[[Any], str]) -> TokenMatch:
    return TokenMatch(write(match.token), match.query_weight, match.document_weight, match.product)


def _pairs(
    best: Sequence[BestToken],
    query: Query,
    text: str,
    document: Document,
    segment: Segment,
    row: int,
    spelling: Spelling | None,
) -> list[TokenPair]:
    if not best:
        return []
    assert query.colbert is not None
    assert segment.tokens is not None
    start, end = segment.spans[row].tolist()
    body = document.text[start:end]
    stored = int(segment.tokens.ends[row + 1] - segment.tokens.ends[row])
    asked = _labels([text], len(query.colbert), spelling)
    found = _labels([f"{document.title}\n{body}" if document.title else body, body], stored, spelling)
    return [TokenPair(asked[pair.query_token], found[pair.document_token], pair.similarity) for pair in best]


def _labels(texts: Sequence[str], count: int, spelling: Spelling | None) -> list[str]:
    """What the tokens of one of these texts read, the special ones behind it too; places where none has as many tokens."""
    if spelling is not None:
        for text, spans in zip(texts, spelling.spans(texts), strict=True):
            if text and 0 <= count - len(spans) <= 1:
                words = [text[start:end] for start, end in spans.tolist()]
                return words + ["[end]"] * (count - len(words))
    return [f"#{place}" for place in range(count)]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"
