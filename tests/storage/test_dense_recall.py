"""Recall as it is measured at a build: against brute force, without the vector that asks, ties counted as found."""

import numpy as np
import pytest
from test_dense_index import KINDS, vectors, written

from m3search.storage import DenseSettings, SegmentInfo, recall_of
from m3search.storage.dense_index import open_dense_index
from m3search.storage.dense_index_writer import write_dense_index
from m3search.storage.dense_recall import measured, proposed


class Finder:
    """Stands for an index that finds a share of what it should, by brute force."""

    def __init__(self, made, share, kind="hnsw"):
        self.made, self.share, self.kind, self.fan_out = made, share, kind, 64
        self.efforts = []

    def nearest(self, vector, count, effort):
        self.efforts.append(effort)
        best = np.argsort(-(self.made @ vector), kind="stable")[:count]
        return best[: max(1, round(self.share(effort) * len(best)))]


def test_all_that_is_found_is_counted_and_no_more():
    made = vectors(1000)
    found = measured(Finder(made, lambda _: 1.0), made)
    assert found == {"dense_effort": 128, "dense_recall_10": 1, "dense_recall_100": 1}
    # of the 126 that are asked for 63 are there, of which one is the vector that asks
    half = measured(Finder(made, lambda _: 0.5), made)
    assert half == {"dense_effort": 1024, "dense_recall_10": 1, "dense_recall_100": pytest.approx(0.62)}


def test_the_least_effort_that_finds_enough_is_kept():
    made = vectors(1000)
    finder = Finder(made, lambda effort: 0.5 if effort < 300 else 1.0)
    assert measured(finder, made)["dense_effort"] == 320
    assert sorted(set(finder.efforts)) == [128, 160, 200, 256, 320]
    assert len(finder.efforts) == 5 * 200
    lists = Finder(made, lambda effort: 0.5 if effort < 300 else 1.0, "ivf")
    assert measured(lists, made)["dense_effort"] == 64, "IVF has so many lists and no more"


def test_equal_vectors_are_as_good_as_each_other():
    made = np.repeat(vectors(3), 200, axis=0)
    backwards = Finder(made, lambda _: 1.0)
    backwards.nearest = lambda vector, count, effort: (
        np.argsort(-(made @ vector)[::-1], kind="stable")[:count] * -1 + 599
    )
    assert measured(backwards, made)["dense_recall_100"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_brute_force_says_of_the_opened_index(tmp_path, kind):
    made = vectors(3000, 32, seed=3)
    directory, info, statistics = written(tmp_path, kind, made)
    opened = open_dense_index(directory, "0123.faiss", info, 3000, 32)
    shares = []
    for row in np.random.default_rng(5).choice(3000, 200, replace=False):
        scores = made @ made[row]
        scores[row] = -np.inf
        found = opened.nearest(made[row], proposed(100) + 1, int(statistics["dense_effort"]))
        found = found[np.argsort(-scores[found])][:100]
        shares.append(len(set(found.tolist()) & set(np.argsort(-scores)[:100].tolist())) / 100)
    assert np.mean(shares) == pytest.approx(statistics["dense_recall_100"], abs=0.02)
    assert statistics["dense_recall_10"] >= statistics["dense_recall_100"] >= 0.95


def test_a_poor_index_says_so(tmp_path):
    made = np.random.default_rng(0).normal(size=(4000, 256)).astype(np.float32)  # noise: no list is nearer than another
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    settings = DenseSettings.of("hnsw", {"M": 4, "efConstruction": 8})
    _, statistics = write_dense_index(written(tmp_path / "a", "hnsw", made)[0], "b", made, 1.0, settings, 1)
    assert statistics["dense_effort"] == 1024
    assert statistics["dense_recall_100"] < 0.8


def test_an_index_finds_what_its_segments_find():
    def segment(passages, **statistics):
        return SegmentInfo("0" * 32, passages, passages, statistics=statistics)

    poor = segment(300, dense_effort=128, dense_recall_10=0.9, dense_recall_100=0.8)
    assert recall_of([segment(5), segment(0)]) is None
    assert recall_of([]) is None
    assert recall_of([poor]) == {"recall@10": 0.9, "recall@100": 0.8}
    assert recall_of([poor, segment(100), segment(0)]) == {"recall@10": 0.925, "recall@100": 0.85}
