"""Candidates: the best of many, against a plain sort, and what is promised of the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3search.records import Candidates

SCORES = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5]), st.floats(-1e6, 1e6))
SCORED = st.lists(SCORES, max_size=60)
FLOORS = st.one_of(st.just(-np.inf), st.just(0.0), SCORES)


def top(scores, depth, floor, docids=None, slack=0.0):
    docids = np.arange(len(scores)) if docids is None else np.array(docids)
    return Candidates.top(docids.astype(np.int64), np.array(scores, float), depth, floor=floor, slack=slack, postings=3)


def by_sort(docids, scores, depth):
    order = sorted(zip(docids, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return order[:depth], order[depth:]


@settings(deadline=None)
@given(SCORED, st.integers(1, 70), FLOORS, st.randoms(use_true_random=False))
def test_top_is_what_a_sort_would_take(scores, depth, floor, random):
    docids = random.sample(range(1000), len(scores))
    found = top(scores, depth, floor, docids)
    kept, rest = by_sort(docids, scores, depth)
    assert list(zip(found.docids.tolist(), found.scores.tolist(), strict=True)) == kept
    assert found.docids.dtype == np.int64
    assert found.scores.dtype == np.float64
    assert len(found) == len(kept)
    # the bound holds for everything that was cut and all that was never scored, and is no looser than that
    assert found.bound == max([floor, *(score for _, score in rest)])
    assert found.postings == 3


@settings(deadline=None)
@given(st.lists(st.tuples(SCORED, FLOORS, st.floats(0, 1)), max_size=5), st.integers(1, 40))
def test_merged_segments_are_one_segment(segments, depth):
    parts, everything, floors, base = [], [], [-np.inf], 0
    for scores, floor, slack in segments:
        docids = range(base, base + len(scores))
        parts.append(top(scores, depth, floor, docids, slack))
        everything += zip(docids, scores, strict=True)
        floors.append(floor)
        base += len(scores) + 7
    found = Candidates.merge(parts, depth)
    kept, rest = by_sort([docid for docid, _ in everything], [score for _, score in everything], depth)
    assert list(zip(found.docids.tolist(), found.scores.tolist(), strict=True)) == kept
    assert found.bound == max([*floors, *(score for _, score in rest)])
    assert found.slack == max([0.0, *(slack for _, _, slack in segments)])
    assert found.postings == 3 * len(segments)


@pytest.mark.parametrize("exact", [(True, True), (True, False), (False, False)])
def test_merged_scores_are_exact_if_all_were(exact):
    docids, scores = np.arange(3), np.array([0.1, 0.3, 0.2])
    parts = [Candidates.top(docids + 3 * n, scores, 2, floor=0.0, exact=each) for n, each in enumerate(exact)]
    assert [part.exact for part in parts] == list(exact)
    assert Candidates.merge(parts, 3).exact == all(exact)
    assert not top([1.0], 1, 0.0).exact, "nobody vouches for scores without saying so"


def test_nothing_merges_to_nothing():
    found = Candidates.merge([], 10)
    assert len(found) == 0
    assert found.bound == -np.inf


@pytest.mark.parametrize("depth", [1, 3, 9])
def test_of_equal_scores_the_smallest_docids_stay(depth):
    found = top([0.5] * 10, depth, -np.inf, docids=list(range(9, -1, -1)))
    assert found.docids.tolist() == list(range(depth))
    assert found.bound == 0.5


def test_a_huge_list_is_cut_without_being_sorted():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 50, 200_000) / 7
    found = top(scores, 1000, 0.0)
    assert found.docids.tolist() == np.lexsort((np.arange(len(scores)), -scores))[:1000].tolist()
