"""The main path on generated vectors: build, search, reload, delete; every answer against brute force."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from bm25_oracle import bm25_scores
from scipy import sparse

from m3search import Document, Encodings, Index, errors
from m3search.storage import IndexWriter, segment_writer

WORDS = "zip archive read write socket http json parse thread lock queue file path time date random".split()
DIM, VOCAB = 24, 5000


def make(count, seed=0, passages=False):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, count) if passages else np.ones(count, int)
    rows = int(sizes.sum())
    dense = rng.normal(size=(rows, DIM)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    lexical = sparse.random_array((rows, VOCAB), density=0, rng=rng, format="lil")
    columns = rng.choice(VOCAB, 40, replace=False)
    for row in range(rows):
        for column in rng.choice(columns, 6, replace=False):
            lexical[row, column] = rng.uniform(1e-6, 0.4)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(count)]
    documents = [Document(f"d{number:04}", text) for number, text in enumerate(texts)]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return documents, Encodings(dense, sparse.csr_array(lexical.tocsr(), dtype=np.float32), offsets=offsets)


def stored(encodings):
    """What is kept of the weights: f16 in its normal range, f32 outside."""
    weights = encodings.lexical.toarray().astype(np.float64)
    half = weights.astype(np.float16).astype(np.float64)
    return np.where((weights >= 2.0**-14) & (weights <= 65504), half, weights)


def oracle(documents, encodings, query, text, weights, alive):
    sizes = np.diff(encodings.offsets)
    kept = np.repeat(alive, sizes)
    live = [document for document, keep in zip(documents, alive, strict=True) if keep]
    parts = {
        "dense": encodings.dense[kept].astype(np.float64) @ query.dense[0].astype(np.float64),
        "lexical": stored(encodings)[kept] @ query.lexical.toarray()[0].astype(np.float64),
        "bm25": bm25_scores(np.repeat([document.text for document in live], sizes[alive]).tolist(), text),
    }
    total = sum(weights.values())
    rows = sum(weight * parts[leg] for leg, weight in weights.items()) / total
    best, start = {}, 0
    for document, size in zip(live, sizes[alive], strict=True):
        best[document.id] = max(rows[start : start + size])
        start += size
    if "dense" not in weights:
        best = {key: score for key, score in best.items() if score > 0}
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))


def same(hits, expected, k):
    """Tie-aware: scores agree rank by rank, and every hit has its own true score."""
    truth = dict(expected)
    assert len(hits) == min(k, len(expected))
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected[:k]], abs=1e-9)
    assert [hit.score for hit in hits] == pytest.approx([truth[hit.id] for hit in hits], abs=1e-9)
    assert len({hit.id for hit in hits}) == len(hits)


BLENDS = [
    {"dense": 1},
    {"lexical": 1},
    {"bm25": 1},
    {"dense": 1, "lexical": 0.3},
    {"dense": 1, "lexical": 0.3, "bm25": 0.5},
    {"lexical": 1, "bm25": 1},
]


@pytest.mark.parametrize("segment_size", [7, 50, 100_000])
@pytest.mark.parametrize("passages", [False, True])
def test_every_blend_equals_brute_force_also_after_deletes(tmp_path, segment_size, passages):
    documents, encodings = make(120, passages=passages)
    query = make(1, seed=9)[1].rows(0, 1)
    alive = np.ones(120, bool)
    Index.build(documents, tmp_path / "i", encoder=None, encodings=encodings, segment_size=segment_size).close()
    with Index.open(tmp_path / "i", mode="w", verify=True) as index:
        for round_ in range(2):
            for weights in BLENDS:
                for k in (1, 10, 500):
                    hits = index.search("read the zip file", k, weights=weights, encodings=query)
                    same(hits, oracle(documents, encodings, query, "read the zip file", weights, alive), k)
                    assert hits.guarantee == "exact"
            if round_ == 0:
                alive[[3, 4, 50, 119]] = False
                assert index.delete(["d0003", "d0004", "d0050", "d0119"]) == 4
        assert len(index) == 116
        assert index.get("d0003") is None
        assert "d0050" not in [document.id for document in index]


def test_segment_size_changes_no_bit(tmp_path):
    documents, encodings = make(90)
    query = make(1, seed=5)[1].rows(0, 1)
    answers = []
    for size in (7, 13, 100):
        with Index.build(documents, encoder=None, encodings=encodings, segment_size=size) as index:
            hits = index.search("json parse", 90, weights="dense=1,lexical=1,bm25=1", encodings=query)
            answers.append([(hit.id, hit.score, dict(hit.parts)) for hit in hits])
    assert answers[0] == answers[1] == answers[2]


def test_no_segment_outgrows_what_a_posting_can_number(tmp_path, monkeypatch):
    documents, encodings = make(20, passages=True)
    with monkeypatch.context() as patch:
        patch.setattr(segment_writer, "_ROWS_LIMIT", 4)
        Index.build(documents, tmp_path / "i", encoder=None, encodings=encodings).close()
    with IndexWriter(tmp_path / "i") as writer:
        segments = writer.manifest().segments
    assert sum(info.documents for info in segments) == 20
    # three is the most passages of a document here: one may pass the limit, no more
    assert all(info.passages <= 4 + 2 and info.documents <= 4 for info in segments)


def test_texts_in_several_batches_of_encodings_are_numbered_through():
    _, encodings = make(30)
    batches = [encodings.rows(0, 10), encodings.rows(10, 12), encodings.rows(12, 30)]
    texts = (f"text {number}" for number in range(30))
    with Index.build(texts, encoder=None, encodings=batches) as index:
        assert [document.id for document in index] == [str(number) for number in range(30)]
        assert index.search(encodings.rows(11, 12), 1, weights="dense=1").ids == ["11"]


def test_skipped_records_take_their_rows_of_every_batch_with_them():
    documents, encodings = make(30)
    given = [document if number not in {3, 15, 29} else {"text": "no id"} for number, document in enumerate(documents)]
    batches = [encodings.rows(0, 10), encodings.rows(10, 12), encodings.rows(12, 30)]
    with pytest.warns(errors.M3SearchWarning, match="3 records skipped"):
        index = Index.build(given, encoder=None, encodings=batches, on_error="skip")
    with index:
        assert len(index) == 27
        for row in (2, 4, 16, 28):
            assert index.search(encodings.rows(row, row + 1), 1, weights="dense=1").ids == [documents[row].id]


def test_another_process_gives_the_same_answer(tmp_path):
    documents, encodings = make(40)
    with Index.build(documents, tmp_path / "i", encoder=None, encodings=encodings) as index:
        here = [(hit.id, hit.score) for hit in index.search("zip archive", 5, weights="bm25=1")]
    code = """
import sys
from m3search import Index
with Index.open(sys.argv[1]) as index:
    print([(hit.id, hit.score) for hit in index.search("zip archive", 5, weights="bm25=1")])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "i")]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == repr(here)


def test_ids_restrict_every_leg():
    documents, encodings = make(60)
    query = make(1, seed=3)[1].rows(0, 1)
    with Index.build(documents, encoder=None, encodings=encodings, segment_size=11) as index:
        hits = index.search("zip", 60, encodings=query, weights="dense=1,bm25=1", ids=["d0001", "d0030", "nowhere"])
        assert set(hits.ids) == {"d0001", "d0030"}


def test_hits_can_be_read_after_close():
    with Index.build(["read a zip archive"], encoder=None) as index:
        hits = index.search("zip")
    assert hits[0].text == "read a zip archive"


def test_a_failed_build_leaves_the_old_index(tmp_path):
    Index.build(["one"], tmp_path / "i", encoder=None).close()
    with pytest.raises(errors.IndexExistsError):
        Index.build(["two"], tmp_path / "i", encoder=None)
    with pytest.raises(errors.DocumentError):
        Index.build(
            [{"id": 1, "text": "two"}, {"id": 1, "text": "again"}],
            tmp_path / "i",
            encoder=None,
            overwrite=True,
            segment_size=1,
        )
    with Index.open(tmp_path / "i", verify=True) as index:
        assert [document.text for document in index] == ["one"]
    with pytest.raises(errors.DocumentError):
        Index.build([{"text": "no id"}], tmp_path / "j", encoder=None)
    assert not (tmp_path / "j").exists()


def test_skip_goes_on_and_reports(tmp_path):
    bad = [{"id": "a", "text": "fine"}, {"text": "no id"}, {"id": "a", "text": "twice"}, {"id": "b", "text": 7}]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        index = Index.build(bad, tmp_path / "i", encoder=None, on_error="skip")
    assert index.report.skipped.count == 3
    assert "3 records skipped" in str(caught[-1].message)
    assert [document.id for document in index] == ["a"]
    index.close()


@pytest.mark.parametrize(
    "change", [lambda e: e.rows(0, 9), lambda e: Encodings.concatenate([e.rows(0, 10), e.rows(0, 1)])]
)
def test_encodings_must_go_with_the_documents(change):
    documents, encodings = make(10)
    with pytest.raises(errors.EncodingsError, match="same number"):
        Index.build(documents, encoder=None, encodings=change(encodings.rows(0, 10)))


def test_colbert_reranks_exactly(tmp_path):
    documents, encodings = make(30)
    rng = np.random.default_rng(1)
    tokens = [rng.normal(size=(rng.integers(1, 9), 16)).astype(np.float32) for _ in documents]
    tokens = [matrix / np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in tokens]
    given = Encodings(dense=encodings.dense, colbert=tokens)
    query = Encodings(dense=encodings.dense[:1], colbert=tokens[:1])
    with Index.build(documents, encoder=None, encodings=given, colbert="bf16") as index:
        hits = index.search(query, 5, weights="dense=1,colbert=1")
        assert hits.guarantee == "exact over the rerank set"
        kept = {
            document.id: matrix
            for batch, e in index.export()
            for document, matrix in zip(batch, e.colbert, strict=True)
        }
        for hit in hits:
            truth = (tokens[0] @ kept[hit.id].T).max(axis=1).mean()
            assert hit.parts["colbert"] == pytest.approx(truth, abs=1e-6)
            assert hit.score == pytest.approx((hit.parts["dense"] + hit.parts["colbert"]) / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"k": 0}, errors.QueryError),
        ({"weights": {"dense": -1}}, errors.WeightsError),
        ({"weights": {"dense": 0}}, errors.WeightsError),
        ({"weights": {"colbert": 1}}, errors.WeightsError),
        ({"weights": {"sparse": 1}}, errors.WeightsError),
    ],
)
def test_bad_searches_say_so(arguments, error):
    with Index.build(["a text"], encoder=None) as index, pytest.raises(error):
        index.search("text", **arguments)


def test_an_empty_query_has_no_hits():
    with Index.build(["a text"], encoder=None) as index:
        assert len(index.search("  ")) == 0
        assert len(index.search("unknown")) == 0


def test_evaluate_counts_a_query_without_hits_as_zero(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "zip"}\n{"_id": "2", "text": "unknown"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n")
    documents = [{"id": "a", "text": "zip archive"}, {"id": "b", "text": "json"}]
    with Index.build(documents, encoder=None) as index:
        found = index.evaluate(tmp_path, measures=["nDCG@10", "R@100"])
    assert found.values == {"nDCG@10": 0.5, "R@100": 0.5}
