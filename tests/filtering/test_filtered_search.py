"""Random filters over random metadata: every leg and every way of asking finds what plain Python finds, and nothing else."""

import numpy as np
import pytest
from bm25_oracle import bm25_scores
from filter_oracle import everything, filters, matches, metadata, values_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse

from m3search import Document, Encodings, Index
from m3search.filtering import as_filter
from m3search.planning import planner
from m3search.storage import check_index, column_writer

WORDS = "zip archive read write socket http json parse thread lock".split()
DIM, VOCAB, TOKEN_DIM, COUNT = 8, 40, 4, 30
BLENDS = [
    {"dense": 1},
    {"lexical": 1},
    {"bm25": 1},
    {"lexical": 1, "bm25": 1},
    {"dense": 1, "lexical": 0.3, "bm25": 0.5},
    {"dense": 1, "colbert": 1},
]
QUERY = "read the zip archive"


def corpus(many, passages, seed=0):
    """Documents with these metadata, of one passage or up to three."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, len(many)) if passages else np.ones(len(many), int)
    rows = int(sizes.sum())
    dense = rng.normal(size=(rows, DIM)).astype(np.float32)
    lexical = sparse.random_array((rows, VOCAB), density=0.2, rng=rng, format="csr", dtype=np.float32)
    colbert = [rng.normal(size=(2, TOKEN_DIM)).astype(np.float32) for _ in range(rows)]
    documents = [
        Document(f"d{n:03}", " ".join(rng.choice(WORDS, rng.integers(3, 12))), "", one) for n, one in enumerate(many)
    ]
    return documents, Encodings(dense, lexical, colbert, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def query():
    rng = np.random.default_rng(9)
    dense = rng.normal(size=(1, DIM)).astype(np.float32)
    lexical = sparse.random_array((1, VOCAB), density=0.3, rng=rng, format="csr", dtype=np.float32)
    return Encodings(dense, lexical, [rng.normal(size=(2, TOKEN_DIM)).astype(np.float32)])


def ranked(index, weights, k=COUNT):
    """All documents by an unfiltered search, with scores."""
    return [(hit.id, hit.score) for hit in index.search(QUERY, k, weights=weights, encodings=query(), rerank=COUNT)]


def check_filter(index, wanted, allowed, unfiltered):
    """Held to the unfiltered answer, which other tests hold to brute force: a filter leaves scores as they are."""
    for blend, everyone in zip(BLENDS, unfiltered, strict=True):
        expected = [one for one in everyone if one[0] in allowed]
        for k in (1, 5, COUNT):
            found = index.search(QUERY, k, weights=blend, filter=wanted, encodings=query(), rerank=COUNT)
            assert [(hit.id, hit.score) for hit in found] == expected[:k], (wanted, blend, k)
            assert found.guarantee in {"exact", "exact over the rerank set"}
    assert [hit.id for hit in index.search("", COUNT, filter=wanted)] == sorted(allowed)


@settings(  # an example is a build and forty searches: what fails is found, and not made smaller
    max_examples=8,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.parametrize("most_bitmaps", [0, 1024])
@pytest.mark.parametrize("passages", [False, True])
def test_every_leg_obeys_a_filter_also_after_deletes_and_merges(tmp_path_factory, most_bitmaps, passages, data):
    many = [everything, *data.draw(st.lists(metadata, min_size=COUNT - 1, max_size=COUNT - 1))]
    documents, encodings = corpus(many, passages)
    path = tmp_path_factory.mktemp("filtered") / "i"
    size = data.draw(st.sampled_from([7, 1000]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_writer, "MOST_BITMAPS", most_bitmaps)
        patch.setattr(planner, "_FEW_ALLOWED", data.draw(st.sampled_from([0, 1000])))  # legs, or a score of all
        Index.build(documents, path, encoder=None, encodings=encodings, colbert="int8", segment_size=size).close()
        alive = {document.id: document for document in documents}
        with Index.open(path, mode="w", verify=True, merging="manual") as index:
            for step in range(3):
                unfiltered = [ranked(index, blend) for blend in BLENDS]
                for _ in range(4):
                    wanted = data.draw(filters(sorted(alive)))
                    allowed = {name for name, document in alive.items() if matches(document, wanted)}
                    check_filter(index, wanted, allowed, unfiltered)
                    again = as_filter(str(as_filter(wanted)))
                    assert {hit.id for hit in index.search("", COUNT, filter=again)} == allowed
                    counts = index.facets("tags", filter=wanted, limit=None)
                    assert counts == tag_counts(alive[name] for name in allowed)
                if step == 0:
                    gone = data.draw(st.sets(st.sampled_from(sorted(alive)), max_size=9))
                    gone -= {"d000"}
                    if gone:
                        index.delete(sorted(gone))
                elif step == 1:
                    wanted = data.draw(filters(sorted(alive)))
                    gone = {name for name, document in alive.items() if matches(document, wanted)}
                    if "d000" in gone:
                        gone = set()
                    elif wanted != {"and": []}:
                        assert index.delete(filter=wanted) == len(gone)
                    index.merge(1000)
                else:
                    gone = set()
                for name in gone:
                    del alive[name]
        assert check_index(path, 3) == []


def tag_counts(documents):
    counts = {}
    for document in documents:
        for tag in set(values_of(document.metadata, "tags")):
            counts[tag] = counts.get(tag, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def test_bm25_scores_of_a_filtered_search_are_those_of_the_whole_index(tmp_path):
    documents, encodings = corpus([{"n": n % 3} for n in range(COUNT)], passages=False)
    with Index.build(documents, tmp_path / "i", encoder=None, encodings=encodings) as index:
        scores = bm25_scores([document.text for document in documents], QUERY)
        expected = sorted(
            ((-score, document.id) for score, document in zip(scores, documents, strict=True) if score > 0)
        )
        expected = [name for _, name in expected if int(name[1:]) % 3 == 1]
        hits = index.search(QUERY, COUNT, weights={"bm25": 1}, filter={"n": 1})
        assert hits.ids == expected


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize("few", [0, 1000])
def test_there_are_always_k_hits_where_k_match(tmp_path, monkeypatch, kind, few):
    monkeypatch.setattr(planner, "_FEW_ALLOWED", few)
    count = 3000
    many = [{"n": n * 7919 % count, "rare": n == 1234} for n in range(count)]
    documents, encodings = corpus(many, passages=False)
    options = {"encoder": None, "encodings": encodings, "segment_size": 1500, "dense": kind, "threads": 1}
    with Index.build(documents, tmp_path / "i", **options) as index:
        ranks = {name: place for place, (name, _) in enumerate(ranked(index, {"bm25": 1}, count))}
        for below in (0, 1, 3, 30, 300, 1500, 3000):
            allowed = {document.id for document in documents if document.metadata["n"] < below}
            for k in (1, 10, 400):
                for blend in BLENDS[:5]:
                    hits = index.search(QUERY, k, weights=blend, filter={"n": {"lt": below}}, encodings=query())
                    assert set(hits.ids) <= allowed
                    if "dense" in blend:
                        assert len(hits) == min(k, len(allowed)), (below, k, blend)
                    if blend == {"bm25": 1}:
                        expected = sorted((name for name in allowed if name in ranks), key=ranks.__getitem__)
                        assert hits.ids == expected[:k]
        assert index.search(QUERY, 10, weights={"dense": 1}, filter="rare=true", encodings=query()).ids == ["d1234"]
