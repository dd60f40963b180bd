"""Indexes with an approximate dense index, beside the exact one of the same vectors: built, searched, copied, damaged."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from m3search import Document, Encodings, Index, errors
from m3search.storage import IndexWriter

COUNT, DIM, VOCAB = 12_000, 64, 40
OPTIONS = {"flat": None, "hnsw": {"M": 8, "efConstruction": 60}, "ivf": {"nlist": 100}}
APPROXIMATE = ["hnsw", "ivf"]


def vectors(count, seed=0):
    """Unit vectors around 80 centers, and lexical weights."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(80, DIM))
    dense = centers[rng.integers(0, 80, count)] + 0.7 * rng.normal(size=(count, DIM))
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    lexical = sparse.random_array((count, VOCAB), density=0.1, rng=rng, format="csr", dtype=np.float32)
    return Encodings(dense.astype(np.float32), lexical)


def build(path, encodings, kind, **options):
    documents = [Document(str(number), f"text {number % 7}") for number in range(len(encodings))]
    options = {"segment_size": 8000, "dense_options": OPTIONS[kind], "threads": 1, "bm25": False, **options}
    return Index.build(documents, path, encoder=None, encodings=encodings, dense=kind, **options)


STORED = vectors(COUNT)
QUERIES = [vectors(30, seed=1).rows(row, row + 1) for row in range(30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("kinds")
    for kind in OPTIONS:
        build(path / kind, STORED, kind).close()
    return path


@pytest.fixture(scope="module")
def indexes(folder):
    opened = {kind: Index.open(folder / kind) for kind in OPTIONS}
    yield opened
    for index in opened.values():
        index.close()


def faiss_files(path):
    return sorted((Path(path) / "segments").glob("*.faiss"))


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize("weights", ["dense=1", "dense=1,lexical=0.3"])
@pytest.mark.parametrize("k", [1, 10, 60])
def test_scores_are_those_of_the_exact_index_and_hardly_a_hit_is_missing(indexes, kind, weights, k):
    shares = []
    for query in QUERIES:
        exact, hits = (indexes[name].search(query, k, weights=weights) for name in ("flat", kind))
        assert exact.guarantee.startswith("exact")
        assert exact.guarantee != "exact over candidates"
        if "lexical" in weights or k > 10:  # deep enough for scoring every vector to be cheaper
            assert hits.guarantee in {"exact over candidates", exact.guarantee}
        else:
            assert hits.guarantee == "exact over candidates"
        assert len(hits) == k
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        known = {hit.id: (hit.score, dict(hit.parts)) for hit in exact}
        both = [hit for hit in hits if hit.id in known]
        assert all(known[hit.id] == (hit.score, dict(hit.parts)) for hit in both)
        shares.append(len(both) / k)
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_what_is_proven_without_the_approximate_index_is_exact(indexes, kind):
    index = indexes[kind]
    assert index.search(QUERIES[0], COUNT, weights="dense=1").guarantee == "exact"
    assert index.search(QUERIES[0], 10, weights="lexical=1").guarantee in {"exact", "exact up to ties at rank k"}
    few = [str(number) for number in range(0, COUNT, 400)]
    hits = index.search(QUERIES[0], 10, weights="dense=1", ids=few)
    assert hits.guarantee == "exact"
    assert hits.ids == indexes["flat"].search(QUERIES[0], 10, weights="dense=1", ids=few).ids
    assert hits.statistics["dense"]["effort"] == 0


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize("k", [1, 10, 500])
def test_as_many_are_found_as_are_allowed(indexes, kind, k):
    rng = np.random.default_rng(2)
    for share in (0.0005, 0.01, 0.2, 0.8):
        ids = [str(number) for number in np.flatnonzero(rng.random(COUNT) < share)]
        hits = indexes[kind].search(QUERIES[1], k, weights="dense=1", ids=ids)
        assert len(hits) == min(k, len(ids))
        assert set(hits.ids) <= set(ids)


ONE_KIND_OF_ARRAY = """
import sys
import numpy as np
from m3search import Encodings, Index
from m3search.retrieval import field_search, joint_loop, products
from scipy import sparse
row = np.random.default_rng(0).random((1, {dim}), np.float32)
some = sparse.csr_array(np.ones((1, {vocab}), np.float32))
queries = [Encodings(row, some), Encodings(row), Encodings(lexical=some)]
for path in sys.argv[1:]:
    with Index.open(path) as index:
        for query in queries:
            for k in (1, 10, 700):
                list(index.search(query, k))
                list(index.search(query, k, ids=[str(number) for number in range(0, 9000, 3)]))
                list(index.search(query, k, collapse=False, offset=k))
for loop in (field_search.search_field, joint_loop.complete_candidates, products.score):
    print(len(loop.signatures))
"""


def test_every_search_hands_the_loops_the_arrays_that_they_are_compiled_for(folder):
    """Another kind of array would be compiled for while somebody waits."""
    script = ONE_KIND_OF_ARRAY.format(dim=DIM, vocab=VOCAB)
    paths = [str(folder / kind) for kind in OPTIONS]
    ran = subprocess.run([sys.executable, "-c", script, *paths], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["1", "1", "1"]


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_recall_was_measured_and_stands_in_info_and_every_answer(indexes, kind):
    info = json.loads(json.dumps(indexes[kind].info()))["dense"]
    assert (info["dim"], info["kind"]) == (DIM, kind)
    assert {name: info[name] for name in OPTIONS[kind]} == OPTIONS[kind]
    assert [one["passages"] for one in info["indexes"]] == [8000, 4000]
    assert 0.95 <= info["recall@100"] <= info["recall@10"] <= 1
    for one, path in zip(info["indexes"], sorted_by_size(indexes[kind].path), strict=True):
        assert one["kind"] == kind
        assert one["bytes"] == path.stat().st_size
        assert one["effort"] >= 1
    weighed = (2 * info["indexes"][0]["recall@100"] + info["indexes"][1]["recall@100"]) / 3
    assert info["recall@100"] == pytest.approx(weighed, abs=1e-4)
    said = indexes[kind].search(QUERIES[0], 10, weights="dense=1").statistics["dense"]
    assert said == {"effort": said["effort"], **{name: info[name] for name in ("recall@10", "recall@100")}}
    assert said["effort"] >= max(one["effort"] for one in info["indexes"][:1])
    assert "dense" not in indexes[kind].search(QUERIES[0], 10, weights="lexical=1").statistics
    assert "dense" not in indexes["flat"].search(QUERIES[0], 10).statistics
    assert indexes["flat"].info()["dense"] == {"dim": DIM, "kind": "flat"}


def sorted_by_size(path):
    return sorted(faiss_files(path), key=lambda file: -file.stat().st_size)


def test_auto_is_flat_for_segments_of_ordinary_size_and_hnsw_above(tmp_path, monkeypatch):
    small = vectors(300)
    with build(tmp_path / "small", small, "flat", dense_options=None) as index:
        assert faiss_files(index.path) == []
    monkeypatch.setattr("m3search.storage.dense_settings.FLAT_PASSAGES", 100)
    documents = [Document(str(number), "") for number in range(300)]
    with Index.build(documents, tmp_path / "large", encoder=None, encodings=small, segment_size=200) as index:
        assert len(faiss_files(index.path)) == 1, "the last segment has 100 passages"
        assert index.info()["dense"]["kind"] == "auto"
        assert [one["kind"] for one in index.info()["dense"]["indexes"]] == ["hnsw"]
        assert index.search(QUERIES[0], 300, weights="dense=1").guarantee == "exact"


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_effort_is_the_users(indexes, kind):
    def recall(effort):
        exact = [set(indexes["flat"].search(query, 10, weights="dense=1").ids) for query in QUERIES]
        batch = indexes[kind].search_batch(QUERIES, 10, weights="dense=1", dense_effort=effort, threads=3)
        alone = [indexes[kind].search(query, 10, weights="dense=1", dense_effort=effort) for query in QUERIES]
        assert [hits.ids for hits in batch] == [hits.ids for hits in alone]
        used = {hits.statistics["dense"]["effort"] for hits in alone}
        assert used <= ({effort, 2 * effort, 4 * effort, 8 * effort} if kind == "ivf" else {effort, 0}), used
        return np.mean([len(one & set(hits.ids)) / 10 for one, hits in zip(exact, batch, strict=True)])

    least, most = (recall(1), recall(20)) if kind == "ivf" else (recall(125), recall(160))
    assert least <= most
    assert most >= 0.97


@pytest.mark.parametrize("effort", [0, -1, 1.5, True, "9"])
def test_an_effort_that_is_none_is_refused(indexes, effort):
    with pytest.raises(errors.QueryError, match=f"dense_effort is {effort!r}: give a whole number from 1"):
        indexes["hnsw"].search(QUERIES[0], dense_effort=effort)
    with pytest.raises(errors.QueryError, match="dense_effort is"):
        indexes["flat"].search_batch(QUERIES[:1], dense_effort=effort)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, None])
def test_a_number_of_threads_that_is_none_is_refused(indexes, threads):
    with pytest.raises(errors.QueryError, match=f"threads is {threads!r}: give a whole number from 1"):
        indexes["hnsw"].search_batch(QUERIES[:1], threads=threads)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_copy_has_the_index_and_answers_alike(tmp_path, indexes, kind):
    indexes[kind].save(tmp_path / "copy")
    assert len(faiss_files(tmp_path / "copy")) == 2
    with Index.open(tmp_path / "copy", verify=True) as copy:
        assert copy.info()["dense"] == indexes[kind].info()["dense"]
        for query in QUERIES[:5]:
            assert copy.search(query, 20).ids == indexes[kind].search(query, 20).ids


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_deletes_hide_documents_and_read_no_index_again(tmp_path, indexes, kind):
    indexes[kind].save(tmp_path / "i")
    with Index.open(tmp_path / "i", mode="w", merging="manual") as index:
        first = index.search(QUERIES[0], 10, weights="dense=1").ids
        before = [segment.dense_index for segment in index._snapshot.segments]
        index.delete(first)
        assert [segment.dense_index for segment in index._snapshot.segments] == before
        after = index.search(QUERIES[0], 10, weights="dense=1")
        assert len(after) == 10
        assert not set(first) & set(after.ids)
        assert after.ids[:5] == indexes[kind].search(QUERIES[0], 40, weights="dense=1").ids[10:15]
    with Index.open(tmp_path / "i", verify=True) as index:
        assert index.search(QUERIES[0], 10, weights="dense=1").ids == after.ids


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_damaged_index_is_found_when_it_is_opened(tmp_path, indexes, kind, verify):
    indexes[kind].save(tmp_path / "i")
    file = faiss_files(tmp_path / "i")[0]
    data = file.read_bytes()
    damaged = bytearray(data)
    damaged[len(data) // 3] ^= 4
    for bad, message in (
        (bytes(damaged), f"{file.name} does not match its checksum: restore the index or build it again"),
        (data[: len(data) // 2], f"has {len(data) // 2:,} bytes, should have {len(data):,}: restore the index"),
        (b"", "has 0 bytes"),
    ):
        file.write_bytes(bad)
        with pytest.raises(errors.CorruptionError, match=message):
            Index.open(tmp_path / "i", verify=verify)
    file.unlink()
    with pytest.raises(errors.CorruptionError, match="a segment file is gone"):
        Index.open(tmp_path / "i", verify=verify)
    file.write_bytes(data)
    Index.open(tmp_path / "i", verify=verify).close()


DYING = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_dense_kinds import build, vectors
from m3search.storage import directory
write = directory.FileWriter.write
def dying(self, data):
    if self.path.suffix == ".faiss" and self.size > int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, data)
directory.FileWriter.write = dying
build(sys.argv[2], vectors(2000), "hnsw", segment_size=600, overwrite=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="this system has no SIGKILL")
@pytest.mark.parametrize("written", [0, 40_000])
def test_a_writer_that_dies_leaves_what_was_there_and_the_next_one_cleans_up(tmp_path, written):
    path = tmp_path / "i"
    build(path, vectors(300), "hnsw").close()
    command = [sys.executable, "-c", DYING, str(Path(__file__).parent), str(path), str(written)]
    assert subprocess.run(command, check=False, timeout=200).returncode == -signal.SIGKILL
    assert list((path / "segments").glob("*.faiss.part"))
    with Index.open(path, verify=True) as index:
        assert len(index) == 300
    with IndexWriter.for_build(path, overwrite=True) as writer:
        assert len(writer.directory.names()) == 2
    with Index.open(path, verify=True) as index:
        assert len(index) == 300


def test_one_thread_makes_the_same_index_again(tmp_path):
    made = vectors(1500)
    sums = []
    for name in "ab":
        with build(tmp_path / name, made, "hnsw") as index:
            sums.append([info.files["faiss"] for info in index._snapshot.manifest.segments])
    assert sums[0] == sums[1]


def test_documents_without_a_passage_and_no_documents_at_all(tmp_path):
    empty = Encodings(np.zeros((0, DIM), np.float32), offsets=np.zeros(4, np.int64))
    for kind in OPTIONS:
        with Index.build(
            ["a", "b", "c"], tmp_path / kind, encoder=None, encodings=empty, dense=kind, bm25=False
        ) as index:
            assert faiss_files(index.path) == []
            assert index.search(QUERIES[0], 10, weights="dense=1").ids == []
