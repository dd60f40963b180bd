"""Fusions of lists: each against its formula, written out by hand, and whole searches against a fusion of the legs' lists."""

from __future__ import annotations

import numpy as np
import pytest
from hard_data import adversarial, random_query

from m3search import retrieval
from m3search.errors import QueryError
from m3search.planning.fusion import KINDS, RAW, Fusion
from m3search.planning.plan import Plan, Strategy
from m3search.planning.ranking import rank


def by_hand(kind, missing, scores):
    """Values of {docid: score or None}, as the papers say."""
    there = {docid: score for docid, score in scores.items() if score is not None}
    listed = list(there.values())
    made = {}
    for docid, score in scores.items():
        if score is None:
            made[docid] = 0.0
        elif kind == "raw":
            made[docid] = score
        elif kind == "rrf":
            made[docid] = 1 / (60 + 1 + sum(other > score for other in listed))
        elif kind == "minmax":
            span = max(listed) - min(listed)
            made[docid] = (score - min(listed)) / span if span else 1.0
        else:
            mean = sum(listed) / len(listed)
            spread = (sum((other - mean) ** 2 for other in listed) / len(listed)) ** 0.5
            made[docid] = (score - mean) / spread if max(listed) > min(listed) else 0.0
    if kind == "zscore":
        least = min((value for docid, value in made.items() if scores[docid] is not None), default=0.0)
        made = {docid: least if scores[docid] is None else value for docid, value in made.items()}
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_the_formula(kind, seed):
    rng = np.random.default_rng(seed)
    scores = rng.choice([-1.5, 0.0, 0.25, 2.0, 7.0], 20)
    there = rng.random(20) < 0.6
    values = Fusion(kind, "zero").values(scores, there)
    expected = by_hand(kind, "zero", {n: float(scores[n]) if there[n] else None for n in range(20)})
    assert values.tolist() == pytest.approx([expected[n] for n in range(20)])
    order = rng.permutation(20)
    assert np.array_equal(Fusion(kind, "zero").values(scores[order], there[order]), values[order]) or kind == "zscore"


@pytest.mark.parametrize("kind", KINDS)
def test_one_score_many_equal_ones_and_none(kind):
    fusion = Fusion(kind)
    for scores in (np.zeros(0), np.array([3.0]), np.full(4, 3.0)):
        values = fusion.values(scores, np.ones(len(scores), bool))
        assert np.isfinite(values).all()
        assert len(set(values.tolist())) <= 1
    assert fusion.values(np.ones(3), np.zeros(3, bool)).tolist() == [0, 0, 0]


def test_only_the_raw_and_completed_blend_is_certified():
    assert [fusion.certified for fusion in (RAW, Fusion("raw", "zero"), Fusion("rrf"))] == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sum",), "fusion is 'sum': give one of raw, rrf, minmax, zscore"),
        (("raw", "null"), "missing is 'null': give 'complete', or 'zero'"),
    ],
)
def test_what_there_is_not(arguments, message):
    with pytest.raises(QueryError, match=message):
        Fusion(*arguments)


@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize(
    ("kind", "missing"), [(kind, missing) for kind in KINDS for missing in ("complete", "zero")][1:]
)
def test_a_search_fuses_what_the_legs_return(snapshot_of, kind, missing, size):
    documents, encodings = adversarial(3)
    snapshot = snapshot_of(documents, encodings, size)
    rng = np.random.default_rng([size, len(kind)])
    for _ in range(20):
        query, depth, k = random_query(rng), int(rng.choice([3, 20, 200])), int(rng.choice([1, 5, 100]))
        weights = {"dense": 1.0, "lexical": 0.3, "bm25": 2.0}
        plan = Plan(k, weights, weights, depth, strategy=Strategy.LISTS, fusion=Fusion(kind, missing))
        allowed = snapshot.allowed(None)
        ranking = rank(query, snapshot, allowed, plan)
        lists = {leg: retrieval.ALL[leg].search(query, snapshot, allowed, depth).docids.tolist() for leg in weights}
        union = sorted({docid for found in lists.values() for docid in found})
        total = np.zeros(len(union))
        for leg, weight in weights.items():
            exact = retrieval.ALL[leg].complete(query, snapshot, np.array(union, np.int64))
            kept = {
                docid: float(score) if missing == "complete" or docid in lists[leg] else None
                for docid, score in zip(union, exact, strict=True)
            }
            total += weight * np.array(list(by_hand(kind, missing, kept).values())) / sum(weights.values())
        best = {}
        for docid, score in zip(union, total, strict=True):
            segment = next(one for one in reversed(snapshot.segments) if one.base <= docid)
            name = segment.id_of(int(segment.documents_of[docid - segment.base]))
            best[name] = max(best.get(name, -np.inf), score)
        assert ranking.scores.tolist() == pytest.approx(sorted(best.values(), reverse=True)[:k])
        assert [best[name] for name in ranking.found.ids] == pytest.approx(ranking.scores.tolist())
        assert ranking.guarantee == "exact over candidates"
        assert ranking.statistics["strategy"] == "fused lists"


def test_a_rerank_set_is_fused_too(snapshot_of):
    documents, encodings = adversarial(1)
    snapshot = snapshot_of(documents, encodings, 9)
    rng = np.random.default_rng(0)
    reranked = 0
    for _ in range(20):
        query = random_query(rng)
        first = {"dense": 1.0, "bm25": 1.0}
        weights = {**first, "colbert": 1.0}
        plan = Plan(5, weights, first, 50, 10, strategy=Strategy.LISTS, fusion=Fusion("rrf"))
        ranking = rank(query, snapshot, snapshot.allowed(None), plan)
        assert ranking.guarantee == "exact over the rerank set"
        for at in range(len(ranking)):
            values = ranking.values_of(at)
            assert set(values) == set(weights)
            assert sum(values.values()) / 3 == pytest.approx(ranking.scores[at])
            reranked += max(values.values()) == 1 / 61
    assert reranked > 20
