"""The oracle against a dense product, recall with ties, and the scipy baseline against the oracle."""

from pathlib import Path

import numpy as np
import pytest
from lexical import generated
from lexical.collection import Collection, Query, cached, load
from lexical.engines.scipy_rows import ScipyRows
from lexical.truth import Truth, kth_scores, recall


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("collection") / "generated"
    return load(cached(folder, 1, lambda place: generated.write(place, 1000)), queries=20, tuning=2)


def test_scores_are_those_of_a_product(collection: Collection) -> None:
    truth = Truth(collection, collection.queries)
    matrix = collection.rows(0, len(collection)).astype(np.longdouble)
    for query in collection.queries:
        dense = np.zeros(collection.vocabulary, np.longdouble)
        dense[query.terms] = query.weights
        assert truth.scores(query) == pytest.approx((matrix @ dense).astype(float), abs=1e-14)


def test_scipy_rows_find_the_same(collection: Collection) -> None:
    peer = ScipyRows()
    peer.build(collection, Path())
    truth = Truth(collection, collection.queries)
    engines = peer.open(collection, Path(), truth, (10,)).engines
    assert len(engines) == 2  # as one writes it, and tuned
    for engine in engines:
        ks = (1, 10, 1000, 5000)
        for query in collection.queries:
            scores = truth.scores(query)
            for k, wanted in zip(ks, kth_scores(scores, ks), strict=True):
                ids, given = engine.answer(engine.search(engine.prepare(query), k))
                assert recall(ids, scores, wanted) == 1
                assert np.array_equal(given, scores[ids])
                assert len(ids) == wanted[0]
                expected = sorted(range(len(scores)), key=lambda number: (-scores[number], number))[: wanted[0]]
                assert ids.tolist() == expected


def test_a_term_that_no_document_has_scores_nothing(collection: Collection) -> None:
    unknown = np.setdiff1d(np.arange(1000), collection.terms)[:2].astype(np.uint32)
    query = Query(unknown, np.ones(2, np.float32))
    truth = Truth(collection, [query])
    assert not truth.scores(query).any()
    assert kth_scores(truth.scores(query), [10]) == [(0, 0.0)]
    assert recall(np.empty(0, np.int64), truth.scores(query), (0, 0.0)) == 1


def test_recall_counts_ties_and_nothing_twice() -> None:
    scores = np.array([0.5, 0.3, 0.3, 0.3, 0.2, 0.0])
    (two, five, all_of_them) = kth_scores(scores, [2, 5, 100])
    assert two == (2, 0.3)
    assert five == all_of_them == (5, 0.2)
    assert recall(np.array([0, 3]), scores, two) == 1
    assert recall(np.array([0, 4]), scores, two) == 0.5
    assert recall(np.array([0, 0]), scores, two) == 0.5
    assert recall(np.array([4, 4, 0, 1, 2]), scores, two) == 0  # only the first two count
    assert recall(np.array([0, 1, 2, 3, 5]), scores, five) == 0.8
    assert recall(np.empty(0, np.int64), scores, five) == 0
