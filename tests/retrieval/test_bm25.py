"""BM25 against bm25s over the same terms: raw scores, however the documents are split, and after deletes."""

import gc
from collections import Counter

import bm25s
import numpy as np
import pytest

from m3search import Document, Index
from m3search.analysis.analyzer import Analyzer
from m3search.retrieval import ALL, Query
from m3search.retrieval.bm25 import TermStatistics
from m3search.storage import Environment, Snapshot

WORDS = (
    "zip archive read write socket http json parse thread lock queue file path time date random the of a to in".split()
)
QUERIES = [
    "read a zip archive",
    "the lock of the thread",
    "http http json",
    "time",
    "random unknown words",
    "xylophone",
]


def documents(count, seed):
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, len(WORDS) + 1)
    return [
        Document(f"d{number}", " ".join(rng.choice(WORDS, rng.integers(1, 40), p=chances / chances.sum())))
        for number in range(count)
    ]


def reference(kept, query, k1, b):
    """bm25s's scores of every document, in its own Lucene variant; terms it does not know are left out."""
    analyzer = Analyzer("en")
    corpus = [analyzer.terms(document.text) for document in kept]
    known = {term for terms in corpus for term in terms}
    terms = [term for term in analyzer.terms(query) if term in known]
    if not terms:
        return np.zeros(len(kept))
    retriever = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    retriever.index(corpus, show_progress=False)
    return retriever.get_scores(terms)


@pytest.mark.parametrize("segment_size", [1, 7, 100, 1000])
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (0.0, 0.0), (3.0, 1.0)])
def test_raw_scores_equal_bm25s_before_and_after_deletes(tmp_path, segment_size, k1, b):
    everything = documents(150, seed=1)
    path = tmp_path / "i"
    Index.build(everything, path, encoder=None, bm25={"k1": k1, "b": b}, segment_size=segment_size).close()
    dead = {f"d{number}" for number in range(0, 150, 3)}
    for gone in (set(), dead):
        if gone:
            with Index.open(path, mode="w", merging="manual") as index:  # passages keep their numbers
                index.delete(gone)
        kept = [document for document in everything if document.id not in gone]
        environment = Environment.open(path / "store")
        snapshot = Snapshot.latest(environment, path)
        alive = np.array([f"d{number}" not in gone for number in range(150)])
        for text in QUERIES:
            query = Query.of(None, Analyzer("en").counts(text))
            truth = reference(kept, text, k1, b)
            raw = ALL["bm25"].raw(query, snapshot, np.flatnonzero(alive))
            np.testing.assert_allclose(raw, truth, atol=1e-4)
            found = ALL["bm25"].search(query, snapshot, snapshot.allowed(None), 20)
            expected = np.sort(truth[truth > 0])[::-1][:20]
            top = expected[0] / found.scores[0] if len(expected) else 1.0
            np.testing.assert_allclose(found.scores * top, expected, atol=1e-4)
        snapshot.release()
        environment.close()


def test_terms_are_counted_once_for_a_query_and_a_snapshot(tmp_path):
    query = Query.of(None, Counter(["zip"]))
    made = [Document("a", "zip"), Document("b", "json"), Document("c", "zip json")]
    Index.build(made, tmp_path / "i", encoder=None).close()
    with Index.open(tmp_path / "i", mode="w") as index, index._reading() as before:
        counted = TermStatistics.of(query, before)
        assert TermStatistics.of(query, before) is counted
        index.delete("c")
        with index._reading() as after:
            assert TermStatistics.of(query, after).average == 1
        assert counted.average == 4 / 3
        assert TermStatistics.of(query, before) is counted
    del index, before, after
    gc.collect()
    assert not query.statistics, "a query must not keep what was counted in a snapshot that is gone"
