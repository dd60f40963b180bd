"""Real collections: every leg and blend against brute force over the stored values, and the quality that is expected.

Runs where M3SEARCH_COLLECTIONS names a folder of BEIR folders (cranfield, cisi, cacm, scifact); takes about 15 minutes on two
cores, most of it for encoding.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from m3search import Encoder, Index
from m3search.evaluation import load_beir
from m3search.indexing.sources import open_source

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from exact.brute_force import BM25

FOLDER = os.environ.get("M3SEARCH_COLLECTIONS")
NAMES = ("cranfield", "cisi", "cacm", "scifact")
SEGMENT_SIZES = (7, 500, 1_000_000)
EXPECTED = {  # collection -> weights -> least nDCG@10
    "cranfield": {"dense=1": 0.37, "bm25=1": 0.35},
    "scifact": {"dense=1": 0.63, "bm25=1": 0.66},
}
BLENDS = ("dense=1", "lexical=1", "bm25=1", "dense=1,lexical=0.3", "dense=1,bm25=0.5", "dense=1,lexical=0.3,bm25=0.5")
QUERIES, RERANKED_QUERIES, K = 60, 10, 100

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="M3SEARCH_COLLECTIONS names no folder of BEIR folders"),
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore::m3search.errors.M3SearchWarning"),  # two cranfield documents are empty
]


class Collection:
    """A collection, encoded once: what is stored of it, and its queries."""

    def __init__(self, name, folder):
        self.name, self.path = name, Path(FOLDER) / name
        self.first = folder / "all"
        Index.build(open_source(self.path), self.first, encoder="mini", colbert="int8", segment_size=10**6).close()
        with Index.open(self.first, verify=True) as index:
            self.batches = list(index.export(batch=512))
        self.documents = [document for documents, _ in self.batches for document in documents]
        self.ids = [document.id for document in self.documents]
        encodings = [encodings for _, encodings in self.batches]
        self.dense = np.concatenate([batch.dense for batch in encodings]).astype(np.float64)
        self.lexical = sparse.vstack([batch.lexical for batch in encodings]).tocsr().astype(np.float64)
        self.colbert = [vectors for batch in encodings for vectors in batch.colbert]
        self.sizes = np.concatenate([np.diff(batch.offsets) for batch in encodings])
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.queries = list(load_beir(self.path).queries.values())[:QUERIES]
        self.encoded = Encoder.load("mini").encode(self.queries, query=True, colbert=True)
        self.bm25 = BM25([d.content for d, size in zip(self.documents, self.sizes, strict=True) for _ in range(size)])

    def build(self, path, segment_size):
        """The same vectors in segments of another size."""
        documents = (document for batch, _ in self.batches for document in batch)
        encodings = (batch for _, batch in self.batches)
        Index.build(
            documents, path, encoder=None, encodings=encodings, colbert="int8", segment_size=segment_size
        ).close()
        return path

    def passage_parts(self, row):
        query = self.encoded.rows(row, row + 1)
        return {
            "dense": self.dense @ query.dense[0].astype(np.float64),
            "lexical": np.asarray(self.lexical @ query.lexical.astype(np.float64).toarray()[0]),
            "bm25": self.bm25.scores(self.queries[row]),
        }

    def expected(self, parts, weights, among=None):
        """(id, score), best first: the best passage of each document; without dense only what matches."""
        total = sum(weights.values())
        passages = sum(weight * parts[leg] for leg, weight in weights.items()) / total
        best = {
            self.ids[number]: float(passages[start : start + size].max())
            for number, (start, size) in enumerate(zip(self.starts, self.sizes, strict=True))
            if size and (among is None or self.ids[number] in among)
        }
        if not {"dense", "colbert"} & set(weights):
            best = {key: score for key, score in best.items() if score > 0}
        return sorted(best.items(), key=lambda item: (-item[1], item[0]))


_encoded = {}


@pytest.fixture(scope="module", params=NAMES)
def collection(request, tmp_path_factory):
    if not (Path(FOLDER) / request.param).is_dir():
        pytest.skip(f"{request.param} is not in {FOLDER}")
    if request.param not in _encoded:  # encoding takes minutes, and pytest comes back to a parameter
        _encoded[request.param] = Collection(request.param, tmp_path_factory.mktemp(request.param))
    return _encoded[request.param]


@pytest.fixture(scope="module", params=SEGMENT_SIZES)
def index(request, collection, tmp_path_factory):
    path = tmp_path_factory.mktemp(f"{collection.name}-{request.param}") / "i"
    with Index.open(collection.build(path, request.param)) as opened:
        yield opened


def parsed(weights):
    return {leg: float(weight) for leg, weight in (part.split("=") for part in weights.split(","))}


def same(hits, expected, k=K, within=1e-9):
    """Tie-aware: the scores agree rank by rank, and each hit has its own true score."""
    truth = dict(expected)
    assert len(hits) == min(k, len(expected))
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected[:k]], abs=within)
    assert [hit.score for hit in hits] == pytest.approx([truth[hit.id] for hit in hits], abs=within)
    assert len({hit.id for hit in hits}) == len(hits)
    assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)


def test_every_leg_and_blend_equals_brute_force(collection, index):
    for row, text in enumerate(collection.queries):
        parts = collection.passage_parts(row)
        for blend in BLENDS:
            hits = index.search(text, K, weights=blend, encodings=collection.encoded.rows(row, row + 1))
            same(hits, collection.expected(parts, parsed(blend)))
            assert hits.guarantee in {"exact", "exact up to ties at rank k"}


def test_colbert_alone_and_as_rerank_equals_brute_force(collection, index):
    weights = {"dense": 1.0, "colbert": 1.0}
    for row in range(RERANKED_QUERIES):
        query = collection.encoded.rows(row, row + 1)
        tokens = query.colbert[0].astype(np.float64)
        parts = collection.passage_parts(row)
        parts["colbert"] = np.array([(tokens @ vectors.T).max(axis=1).mean() for vectors in collection.colbert])
        reranked = {key for key, _ in collection.expected(parts, {"dense": 1.0})[:K]}
        hits = index.search(collection.queries[row], 10, weights=weights, encodings=query, rerank=K)
        # MaxSim multiplies in float32
        same(hits, collection.expected(parts, weights, among=reranked), 10, within=1e-6)
        assert hits.guarantee == "exact over the rerank set"


def test_another_process_gives_the_same_answers(collection):
    code = """
import json, sys
from m3search import Index
path, queries = sys.argv[1], json.loads(sys.stdin.read())
with Index.open(path) as index:
    answers = [[(hit.id, hit.score) for hit in index.search(query, 20)] for query in queries]
print(json.dumps(answers))
"""
    queries = collection.queries[:20]
    command = [sys.executable, "-c", code, str(collection.first)]
    done = subprocess.run(command, input=json.dumps(queries), capture_output=True, text=True, check=True)
    there = json.loads(done.stdout)
    with Index.open(collection.first) as index:
        here = [[[hit.id, hit.score] for hit in index.search(query, 20)] for query in queries]
    assert there == here


def test_quality_is_what_is_published(collection):
    with Index.open(collection.first) as index:
        for weights, least in EXPECTED.get(collection.name, {}).items():
            result = index.evaluate(collection.path, measures=["nDCG@10"], weights=weights)
            assert result["nDCG@10"] >= least, f"{collection.name} {weights}: {result}"
        blended = index.evaluate(collection.path, measures=["nDCG@10"])
        alone = [index.evaluate(collection.path, measures=["nDCG@10"], weights=leg) for leg in ("dense=1", "bm25=1")]
        assert blended["nDCG@10"] > max(result["nDCG@10"] for result in alone)
