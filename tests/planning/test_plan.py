"""Plans: which legs take part in which stage, how deep, and what cannot be planned."""

from __future__ import annotations

import numpy as np
import pytest

from m3search.errors import QueryError, WeightsError
from m3search.planning.plan import LARGEST_K, Plan, Strategy
from m3search.planning.planner import Limits, make_plan
from m3search.records import LEGS, Weights


def plan(k=10, weights=None, default=None, index=LEGS, query=LEGS, rerank=100, allowed=None, **limits):
    default = None if default is None else Weights.of(default)
    limits = Limits(rerank=rerank, **limits)
    return make_plan(k, weights, default, index_legs=index, query_legs=query, limits=limits, allowed=allowed)


@pytest.mark.parametrize(
    ("arguments", "weights", "first"),
    [
        # the user's weights, in the blend's order
        ({"weights": "bm25=2,dense=1"}, {"dense": 1, "bm25": 2}, {"dense": 1, "bm25": 2}),
        ({"weights": "dense=1,lexical=0"}, {"dense": 1}, {"dense": 1}),
        # the index's own, without what index or query lack
        ({"default": "dense=1,bm25=0.5"}, {"dense": 1, "bm25": 0.5}, {"dense": 1, "bm25": 0.5}),
        ({"default": "dense=1,bm25=0.5", "query": ["dense", "lexical"]}, {"dense": 1}, {"dense": 1}),
        ({"default": "dense=1,bm25=0.5", "index": ["bm25"]}, {"bm25": 0.5}, {"bm25": 0.5}),
        # none fits, or there are none: a fallback, or whatever is there
        ({"default": "colbert=1", "index": ["lexical"]}, {"lexical": 0.3}, {"lexical": 0.3}),
        ({"query": ["bm25"]}, {"bm25": 1}, {"bm25": 1}),
        ({"index": ["colbert"]}, {"colbert": 1}, {"colbert": 1}),
        # ColBERT only reranks where another leg can propose
        ({"weights": "dense=1,colbert=2"}, {"dense": 1, "colbert": 2}, {"dense": 1}),
        ({"weights": "colbert=2", "index": ["dense", "colbert"]}, {"colbert": 2}, {"dense": 1}),
        ({"weights": "colbert=2", "default": "bm25=3,dense=1"}, {"colbert": 2}, {"dense": 1, "bm25": 3}),
        ({"weights": "colbert=2", "index": ["colbert"]}, {"colbert": 2}, {"colbert": 2}),
        # and not where it is turned off
        ({"weights": "dense=1,colbert=2", "rerank": 0}, {"dense": 1}, {"dense": 1}),
    ],
)
def test_which_legs_weigh_and_which_propose(arguments, weights, first):
    made = plan(**arguments)
    assert made.weights == weights
    assert made.first == first
    assert list(made.weights) == [leg for leg in LEGS if leg in weights]


@pytest.mark.parametrize(
    ("arguments", "depth", "rerank", "documents"),
    [
        ({"weights": "dense=1"}, 100, 0, 10),
        ({"weights": "dense=1", "k": 80}, 160, 0, 80),
        ({"weights": "dense=1,colbert=1"}, 200, 100, 100),
        ({"weights": "dense=1,colbert=1", "rerank": 5}, 100, 10, 10),
        ({"weights": "dense=1,colbert=1", "k": 300}, 600, 300, 300),
        ({"weights": "dense=1,colbert=1", "rerank": 0}, 100, 0, 10),
        ({"weights": "colbert=1", "index": ["colbert"]}, 100, 0, 10),
        ({"weights": "dense=1", "k": LARGEST_K}, 2 * LARGEST_K, 0, LARGEST_K),
    ],
)
def test_how_deep_and_how_many(arguments, depth, rerank, documents):
    made = plan(**arguments)
    assert (made.depth, made.rerank, made.documents) == (depth, rerank, documents)


@pytest.mark.parametrize(
    ("arguments", "attempt"),
    [
        ({"weights": "lexical=1"}, 14),
        ({"weights": "bm25=0.3", "k": 1000}, 1019),
        ({"weights": "lexical=1,colbert=1"}, 105),
        ({"weights": "bm25=1,colbert=1", "rerank": 0}, 14),
        # a blend needs more, and a dense leg goes through all vectors however many are asked for
        ({"weights": "lexical=1,bm25=1"}, 0),
        ({"weights": "dense=1"}, 0),
        ({"weights": "colbert=1", "index": ["colbert"]}, 0),
    ],
)
def test_one_inverted_leg_alone_is_first_asked_for_little(arguments, attempt):
    made = plan(**arguments)
    assert made.attempt == attempt
    assert made.attempt < made.depth


@pytest.mark.parametrize("k", [0, -1, LARGEST_K + 1, 1.0, "10", None, True, np.nan])
def test_k_is_a_whole_number_from_1(k):
    with pytest.raises(QueryError, match=r"k is .*: give a whole number from 1 to 10,000,000"):
        plan(k=k)


@pytest.mark.parametrize("rerank", [-1, 0.5, LARGEST_K + 1, None, False])
def test_rerank_is_a_whole_number_from_0(rerank):
    with pytest.raises(QueryError, match=r"rerank is .*: give a whole number from 0 \(off\)"):
        plan(rerank=rerank)


def test_what_index_or_query_lack_is_named():
    with pytest.raises(WeightsError, match="colbert weighs 2, but this index has no colbert leg: it has dense, bm25"):
        plan(weights="dense=1,colbert=2", index=["bm25", "dense"])
    with pytest.raises(QueryError, match=r"lexical weighs 0\.5, but the query has nothing for it: it has dense"):
        plan(weights="lexical=0.5", query=["dense"])
    with pytest.raises(
        QueryError, match=r"the index has lexical, the query bm25; give encodings, or a text and an encoder"
    ):
        plan(index=["lexical"], query=["bm25"])
    with pytest.raises(QueryError, match="the index has none, the query none"):
        plan(index=[], query=[])


def test_a_plan_is_data():
    made = Plan(5, {"dense": 1.0}, {"dense": 1.0}, 1)
    assert made.documents == 5
    with pytest.raises(AttributeError):
        made.k = 6


@pytest.mark.parametrize(
    ("arguments", "strategy"),
    [
        ({"weights": "dense=1,bm25=1"}, Strategy.BLEND),
        ({"weights": "dense=1,bm25=1", "allowed": 1001}, Strategy.BLEND),
        ({"weights": "dense=1,bm25=1", "allowed": 1000}, Strategy.ALLOWED),
        ({"weights": "dense=1,colbert=1", "allowed": 0}, Strategy.ALLOWED),
        ({"weights": "colbert=1", "index": ["colbert"], "allowed": 5}, Strategy.BLEND),
        # an inverted leg goes through few passages as fast as completion does
        ({"weights": "lexical=1,bm25=1", "allowed": 5}, Strategy.BLEND),
        # and a budget is a budget
        ({"weights": "dense=1", "allowed": 500, "max_candidates": 499}, Strategy.BLEND),
        ({"weights": "dense=1", "allowed": 5, "fusion": "rrf"}, Strategy.LISTS),
        ({"weights": "dense=1", "missing": "zero"}, Strategy.LISTS),
    ],
)
def test_how_the_first_stage_is_settled(arguments, strategy):
    made = plan(**arguments)
    assert made.strategy is strategy
    assert dict.fromkeys(made.first, 0 if strategy is Strategy.ALLOWED else made.attempt or made.depth) == made.depths


def test_a_plan_moves_to_another_page():
    made = plan(weights="dense=1,colbert=1", k=10, rerank=30)
    moved = made.at(95)
    assert (moved.offset, moved.wanted, moved.borders, moved.documents, moved.start) == (95, 105, (30, 60), 120, 240)
    assert (moved.rerank, moved.rerank_set, moved.weights) == (made.rerank, made.rerank_set, made.weights)
    assert made.at(0) == made
    assert moved.at(0) == made
    assert plan(weights="lexical=1", k=10).at(90).attempt == 166
