"""Merging: one segment of several is, byte by byte, what a build of the living documents would have written."""

import warnings

import numpy as np
import pytest
from live_model import QUERY, QUERY_ENCODINGS, build, check, given
from scipy import sparse
from small_index import answers, garbage, opened_answers
from small_index import build as build_small

from m3search import Encodings, Index
from m3search.errors import CorruptionError, InputError, M3SearchWarning
from m3search.storage import IndexWriter, MergePolicy, Snapshot, merge_all, merging
from m3search.storage.keys import array_key


def bytes_of(path):
    """Everything of an index's segments but their names: arrays, records without their keys' checksums, files."""
    found = []
    with Index.open(path) as index, index._reading() as snapshot:
        for segment in snapshot.segments:
            prefix = len(array_key(segment.info.key, ""))
            arrays = {}
            for key, value in snapshot.items():
                if key.startswith(array_key(segment.info.key, "")[:-1]):
                    arrays[key[prefix - 1 :]] = (
                        bytes(value[64:]) if key[prefix - 1 : prefix] == b"a" else bytes(value[16:])
                    )
            statistics = dict(segment.info.statistics)
            files = {
                suffix: bytes(data) if suffix == "faiss" else [array.tobytes() for array in arrays_of(segment, suffix)]
                for suffix, data in segment.files.items()
            }
            found.append((segment.info.documents, segment.info.passages, statistics, arrays, files))
    return found


def arrays_of(segment, suffix):
    if suffix == "vectors":
        return [segment.vectors]
    tokens = segment.tokens
    every = (tokens.codes, tokens.scales, tokens.ends) if suffix == "colbert" else (tokens.signs,)
    return [array for array in every if array is not None]


ROUNDS = [("a", 0, 9), ("b", 1, 14), ("c", 2, 3), ("d", 3, 8)]


def grown(path, **options):
    """An index that grew in four commits, some of whose documents are dead; the model of what lives."""
    model = {}
    first, *others = [{f"{letter}{n:02}": version for n in range(count)} for letter, version, count in ROUNDS]
    build(path, first.items(), segment_size=1000, **options)
    model |= first
    with Index.open(path, mode="w", merging="manual") as index:
        index._writer.threads = 1
        for more in others:
            index.add(*given(more.items()))
            model |= more
        gone = ["a00", "a08", "b05", "c00", "c01", "c02", "d07"]
        index.delete(gone)
    return {name: version for name, version in model.items() if name not in gone}


@pytest.mark.parametrize("colbert", ["int8", "bf16", "int8+bits"])
def test_a_merged_segment_is_what_a_build_would_have_written(tmp_path, colbert):
    model = grown(tmp_path / "i", colbert=colbert, threads=1)
    with Index.open(tmp_path / "i") as before:
        held = answers_of(before)
        with Index.open(tmp_path / "i", mode="w") as index:
            assert index.info()["segments"] == 4
            index._writer.threads = 1
            done = index.merge()
            assert (done.merges, done.segments, done.documents, done.purged) == (1, 4, len(model), 7)
            check(index, model)
            assert answers_of(index) == held
        check(before, model)
    build(tmp_path / "new", model.items(), segment_size=1000, colbert=colbert, threads=1)
    merged, built = bytes_of(tmp_path / "i"), bytes_of(tmp_path / "new")
    assert merged == built
    assert garbage(tmp_path / "i") == set()


def answers_of(index):
    blends = [{"dense": 1, "lexical": 0.3, "bm25": 0.5}, {"bm25": 1}]
    return [
        [(hit.id, hit.score, hit.text) for hit in index.search(QUERY, 50, weights=weights, encodings=QUERY_ENCODINGS)]
        for weights in blends
    ]


@pytest.mark.parametrize("dense", ["hnsw", "ivf"])
def test_a_merged_segment_has_the_dense_index_that_its_config_says(tmp_path, dense):
    model = grown(tmp_path / "i", dense=dense, threads=1)
    with Index.open(tmp_path / "i", mode="w") as index:
        index._writer.threads = 1
        index.merge()
        check(index, model)
    build(tmp_path / "new", model.items(), segment_size=1000, dense=dense, threads=1)
    assert bytes_of(tmp_path / "i") == bytes_of(tmp_path / "new")
    assert "faiss" in bytes_of(tmp_path / "i")[0][4]


def test_weights_of_both_widths_become_one_array(tmp_path):
    weights = [np.array([[0.5, 1.0, 0.0]]), np.array([[2.0, 1e6, 0.0]]), np.array([[0.0, 0.25, 1e-7]])]

    def batch(numbers):
        rows = np.concatenate([weights[number] for number in numbers]).astype(np.float32)
        return Encodings(lexical=sparse.csr_array(rows))

    Index.build(["a"], tmp_path / "i", encoder=None, bm25=False, encodings=batch([0])).close()
    with Index.open(tmp_path / "i", mode="w") as index:
        for number in (1, 2):
            index.add([{"id": f"{number}", "text": "a"}], batch([number]))
        index.merge()
    Index.build(["a", "a", "a"], tmp_path / "new", encoder=None, bm25=False, encodings=batch([0, 1, 2])).close()
    assert bytes_of(tmp_path / "i") == bytes_of(tmp_path / "new")
    with Index.open(tmp_path / "i", mode="w") as index:
        index.delete(["1", "2"])
        index.merge()
    Index.build(["a"], tmp_path / "one", encoder=None, bm25=False, encodings=batch([0])).close()
    assert bytes_of(tmp_path / "i") == bytes_of(tmp_path / "one")


def test_memory_and_transactions_are_bounded(tmp_path, monkeypatch):
    model = grown(tmp_path / "i")
    monkeypatch.setattr(merging, "_BYTES_A_TRANSACTION", 500)
    monkeypatch.setattr(merging, "_CHUNK_PASSAGES", 4)
    with Index.open(tmp_path / "i", mode="w") as index:
        before = index._environment.last_transaction
        index.merge()
        assert index._environment.last_transaction > before + 15
        check(index, model)
    build(tmp_path / "new", model.items(), segment_size=1000)
    assert bytes_of(tmp_path / "i") == bytes_of(tmp_path / "new")


def test_small_commits_are_merged_by_themselves(tmp_path):
    build(tmp_path / "i", [("start", 0)], segment_size=1000)
    model = {"start": 0}
    with Index.open(tmp_path / "i", mode="w") as index:
        most = 0
        for number in range(40):
            index.add(*given([(f"n{number}", number)]))
            model[f"n{number}"] = number
            most = max(most, index.info()["segments"])
        assert most == 7
        check(index, model)
        index.delete(list(model))
        assert index.info()["segments"] == 0
        index.add(*given([("again", 5)]))
        check(index, {"again": 5})
    assert garbage(tmp_path / "i") == set()
    with pytest.raises(InputError, match="merging is 'never': give 'manual' or 'auto'"):
        Index.open(tmp_path / "i", mode="w", merging="never")


@pytest.mark.parametrize("name", ["bm25.row_terms", "lexical.row_values", "ids", "spans"])
def test_what_is_damaged_is_not_copied(tmp_path, name):
    grown(tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer:
        info = writer.manifest().segments[1]
        key = array_key(info.key, name)
        with writer.environment.write() as transaction:
            blob = bytearray(transaction.get(key))
            blob[-1] ^= 1
            transaction.put(key, bytes(blob))
        before = writer.manifest()
        with pytest.raises(CorruptionError, match=f"array '{name}' of segment {info.uuid} does not match its checksum"):
            merge_all(writer, MergePolicy.of(before.config))
        assert writer.manifest() == before
        with Snapshot.latest(writer.environment, writer.path) as snapshot:
            assert snapshot.documents > 0
        writer.collect()
        assert garbage(tmp_path / "i", writer) == set()


def test_damaged_vectors_and_documents_are_not_copied_and_a_change_says_so(tmp_path):
    model = grown(tmp_path / "i")
    with Index.open(tmp_path / "i") as index:
        uuid = index._snapshot.segments[1].info.uuid
    path = tmp_path / "i" / "segments" / f"{uuid}.vectors"
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(bytes(data))
    with Index.open(tmp_path / "i", mode="w") as index:
        with pytest.raises(CorruptionError, match=r"vectors does not match its checksum"):
            index.merge()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for number in range(5):
                index.add(*given([(f"n{number}", number)]))
                model[f"n{number}"] = number
        assert {warning.category for warning in told} == {M3SearchWarning}
        assert "the changes are stored, but merging failed: " in str(told[0].message)
        assert len(index) == len(model)


def test_an_index_that_was_merged_answers_as_before(tmp_path):
    build_small(tmp_path / "i", 30, segment_size=4)
    before = opened_answers(tmp_path / "i")
    with Index.open(tmp_path / "i", mode="w") as index:
        segments = index.info()["segments"]
        index.merge(15)
        assert 1 < index.info()["segments"] < segments
        assert answers(index) == before
        index.merge(1000)
        assert index.info()["segments"] == 1
        assert answers(index) == before
        assert index.merge(1000).merges == 0
    assert opened_answers(tmp_path / "i", verify=True) == before
