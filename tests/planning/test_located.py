"""Located documents: in the order of (-score, id), whatever their docids say."""

from __future__ import annotations

import numpy as np
import pytest

from m3search import Document
from m3search.planning.located import Located

NAMES = ["z", "é", "a", "水", "b", "A", "aa", "y", "x", "c"]


@pytest.mark.parametrize("size", [3, 1000])
@pytest.mark.parametrize("count", [1, 4, 9, 10, 99])
def test_of_equal_scores_the_smaller_id_comes_first(snapshot_of, size, count):
    snapshot = snapshot_of([Document(name, "zip") for name in NAMES], None, size)
    docids = np.random.default_rng(count).permutation(10)
    for scores in ([1.0] * 10, [3, 3, 2, 1, 1, 1, 1, 0, -1, -1], [0.0, -0.0] * 5, range(10, 0, -1)):
        order, found = Located.ordered(snapshot, docids, np.array(scores, np.float64), count)
        expected = sorted(range(10), key=lambda at: (-scores[at], NAMES[docids[at]]))[:count]
        assert order.tolist() == expected
        assert found.ids == [NAMES[docids[at]] for at in expected]
        for name, owner, number in zip(found.ids, found.owners, found.numbers, strict=True):
            assert snapshot.segments[owner].id_of(number) == name


def test_nothing_is_nowhere(snapshot_of):
    snapshot = snapshot_of([Document("a", "zip")], None)
    order, found = Located.ordered(snapshot, np.empty(0, np.int64), np.empty(0), 3)
    assert (order.tolist(), found.ids, found.numbers.tolist()) == ([], [], [])


@pytest.mark.parametrize("size", [7, 1000])
def test_a_few_are_located_like_many(snapshot_of, size):
    snapshot = snapshot_of([Document(f"d{number}", "zip") for number in range(60)], None, size)
    docids = np.random.default_rng(size).permutation(60)
    many = Located.of(snapshot, docids)
    for start in range(0, 60, 9):
        few, end = Located.of(snapshot, docids[start : start + 9]), start + 9
        assert few.ids == list(many.ids[start:end])
        assert few.owners.tolist() == many.owners[start:end].tolist()
        assert few.numbers.tolist() == many.numbers[start:end].tolist()
