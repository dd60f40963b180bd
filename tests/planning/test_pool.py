"""Pools: the best documents among scored passages against a plain sort, and what is known of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m3search.planning.pool import Pool, united

SCORES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.0]), st.floats(-2, 2))


@st.composite
def pools(draw):
    """Passages of documents, every document one run of docids, in any order or best first."""
    sizes = draw(st.lists(st.integers(1, 4), max_size=12))
    first = np.repeat(np.cumsum([0, *sizes])[:-1], sizes).astype(np.int64)
    docids = np.array(draw(st.lists(st.sampled_from(range(len(first))), unique=True)) if sizes else [], np.int64)
    scores = np.array(draw(st.lists(SCORES, min_size=len(docids), max_size=len(docids))), np.float64)
    if draw(st.booleans()):
        order = np.lexsort((docids, -scores))
        docids, scores = docids[order], scores[order]
    parents = docids if all(size == 1 for size in sizes) else first[docids]
    parts = {"dense": scores}
    return Pool(docids, parts, scores, parents, parts)


@settings(deadline=None)
@given(pools(), st.integers(1, 15))
def test_the_best_are_what_a_sort_of_all_documents_gives(pool, documents):
    best = {}
    for position, (docid, score, parent) in enumerate(
        zip(pool.docids.tolist(), pool.scores.tolist(), pool.parents.tolist(), strict=True)
    ):
        best[parent] = min(best.get(parent, (np.inf,)), (-score, docid, position))
    order = sorted(best.values())
    wanted = [position for score, _, position in order if len(order) <= documents or score <= order[documents - 1][0]]
    assert pool.best(documents).tolist() == wanted


@settings(deadline=None)
@given(pools(), st.sets(st.integers(0, 50)))
def test_what_it_knows_of_other_passages(pool, others):
    docids = np.array(sorted(others), np.int64)
    (known,) = pool.known(docids)
    assert known.leg == "dense"
    assert len(known.positions) == len(known.scores) == len(others & set(pool.docids.tolist()))
    truth = dict(zip(pool.docids.tolist(), pool.scores.tolist(), strict=True))
    assert [truth[docid] for docid in docids[known.positions].tolist()] == known.scores.tolist()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), unique=True), min_size=1, max_size=4))
def test_lists_are_united_with_each_docid_once(lists):
    docids, places = united([np.array(some, np.int64) for some in lists])
    assert docids.tolist() == sorted(set().union(*lists))
    assert [docids[where].tolist() for where in places] == lists
