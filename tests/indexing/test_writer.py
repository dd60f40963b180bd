"""Changes of an open index: what may come in, what is kept of a block, and who sees it when."""

import threading
from pathlib import Path

import pytest
from live_model import QUERY, build, check, document, encodings, given

from m3search import Index
from m3search.errors import ClosedError, DocumentError, EncoderError, EncodingsError, InputError
from m3search.storage import segment_writer

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"


@pytest.fixture
def index(tmp_path):
    build(tmp_path / "i", [("a", 0), ("b", 0), ("c", 0)])
    with Index.open(tmp_path / "i", mode="w") as opened:
        yield opened


def test_an_index_that_is_open_for_reading_says_how_to_open_it(tmp_path):
    build(tmp_path / "i", [("a", 0)])
    with Index.open(tmp_path / "i") as index:
        for change in (lambda: index.add(["x"]), lambda: index.upsert(["x"]), lambda: index.delete(["a"])):
            with pytest.raises(InputError, match="is open for reading: open it with mode='w' to change it"):
                change()


def test_an_id_that_is_there_adds_nothing_and_the_message_says_what_to_do(index):
    with pytest.raises(DocumentError, match=r"document 1: the id 'b' is in the index already: .* replace .* upsert"):
        index.add(*given([("new", 1), ("b", 1)]))
    with pytest.raises(DocumentError, match=r"document 2: the id 'x' was there before: .* or replace it with upsert"):
        index.add(*given([("x", 1), ("y", 1), ("x", 2)]))
    check(index, {"a": 0, "b": 0, "c": 0})
    assert index.info()["generation"] == 1


def test_bad_records_can_be_skipped_and_are_reported(index):
    documents, vectors = given([("x", 1), ("b", 1), ("y", 1)])
    report = index.add([documents[0], documents[1], {"id": "y"}], vectors, on_error="skip")
    assert report.documents == 1
    assert report.skipped.kinds == {"duplicate id": 1, "no text": 1}
    check(index, {"a": 0, "b": 0, "c": 0, "x": 1})


def test_of_several_replacements_the_last_one_stays(index):
    report = index.upsert(*given([("b", 1), ("x", 1), ("b", 2), ("x", 3)]))
    assert (report.documents, report.replaced) == (4, 3)
    check(index, {"a": 0, "b": 2, "c": 0, "x": 3})


def test_a_block_is_one_commit_and_its_order_counts(index):
    with index.writer() as writer:
        writer.add(*given([("x", 1), ("y", 1)]))
        assert writer.delete(["x", "a"]) == 2
        with pytest.raises(InputError, match="there is no document 'a' to delete"):
            writer.delete(["y", "a"])
        writer.add(*given([("x", 2), ("a", 2)]))
        writer.upsert(*given([("y", 3)]))
        assert len(index) == 3
    check(index, {"a": 2, "b": 0, "c": 0, "x": 2, "y": 3})
    assert index.info()["generation"] == 2
    assert (writer.report.documents, writer.report.replaced) == (5, 1)
    with pytest.raises(ClosedError, match="are committed or discarded"):
        writer.add(*given([("z", 1)]))


def test_a_block_with_nothing_in_it_is_no_commit(index):
    with index.writer() as writer:
        writer.add([], encodings([]))
        assert writer.delete([]) == 0
    assert index.info()["generation"] == 1


def test_what_is_added_and_deleted_in_a_block_leaves_nothing(index):
    with index.writer() as writer:
        writer.add(*given([("x", 1)]))
        writer.delete(["x"])
    assert len(index.info()["bm25"]) == 3
    assert index.info()["segments"] == 1
    assert len(list((index.path / "segments").iterdir())) == 2
    check(index, {"a": 0, "b": 0, "c": 0})


def test_an_error_within_a_block_keeps_nothing_even_if_it_is_caught(index):
    files = set((index.path / "segments").iterdir())

    def change():
        with index.writer() as writer:
            writer.delete(["a"])
            with pytest.raises(DocumentError):
                writer.add(*given([("x", 1), ("b", 1)]))

    with pytest.raises(InputError, match="a change before has failed, so nothing of this block will be kept"):
        change()
    check(index, {"a": 0, "b": 0, "c": 0})
    assert set((index.path / "segments").iterdir()) == files


def test_a_large_block_is_many_segments_and_still_one_commit(index, monkeypatch):
    monkeypatch.setattr(segment_writer, "_TEXT_LIMIT", 400)
    before = index.info()["segments"]
    with Index.open(index.path) as reader, index.writer() as writer:
        for part in range(4):
            writer.add(*given([(f"{part}-{number}", 1) for number in range(10)]))
        writer.delete(["0-0", "3-9"])
        assert not reader.refresh()
    expected = {f"{part}-{number}": 1 for part in range(4) for number in range(10)} | {"a": 0, "b": 0, "c": 0}
    del expected["0-0"], expected["3-9"]
    check(index, expected)
    assert index.info()["segments"] > before + 3
    assert index.info()["generation"] == 2


def test_a_thread_has_one_block_and_others_wait(index):
    with index.writer() as writer:
        with pytest.raises(InputError, match="changes are being made in this thread already"):
            index.add(*given([("x", 1)]))
        writer.add(*given([("y", 1)]))
        thread = threading.Thread(target=lambda: index.upsert(*given([("y", 2), ("z", 2)])))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()
    check(index, {"a": 0, "b": 0, "c": 0, "y": 2, "z": 2})


def test_encodings_must_be_those_of_the_index(index):
    documents, vectors = given([("x", 1)])
    narrow = type(vectors)(vectors.dense[:, :3], vectors.lexical, vectors.colbert, vectors.offsets)
    with pytest.raises(EncodingsError, match="have dense_dim 3, this index has 6: give the outputs that the index was"):
        index.add(documents, narrow)
    fewer = type(vectors)(vectors.dense, None, vectors.colbert, vectors.offsets)
    with pytest.raises(EncodingsError, match="have vocab_size None, this index has 30"):
        index.add(documents, fewer)
    with pytest.raises(EncoderError, match="was built from given encodings, without an encoder: give the encodings"):
        index.add(documents)
    with pytest.raises(EncodingsError, match="only 1 documents"):
        index.add(documents, encodings([("x", 1), ("y", 1)]))
    check(index, {"a": 0, "b": 0, "c": 0})


def test_terms_alone_need_no_encoder(tmp_path):
    Index.build([{"id": "a", "text": "zip"}], tmp_path / "i", encoder=None).close()
    with Index.open(tmp_path / "i", mode="w") as index:
        index.add([{"id": "b", "text": "zip archive"}, {"id": "c", "text": ""}])
        assert [hit.id for hit in index.search("archive")] == ["b"]
        index.upsert([{"id": "b", "text": "socket"}])
        assert [hit.id for hit in index.search("archive")] == []
        assert len(index) == 3


def test_what_is_added_is_encoded_as_a_build_would(tmp_path):
    texts = [{"id": f"d{n}", "text": f"the text of number {n}, which is about zip files"} for n in range(6)]
    Index.build(texts[:2], tmp_path / "i", encoder=CHECKPOINT, colbert="int8", progress=False).close()
    with Index.open(tmp_path / "i", mode="w") as index:
        index.add(texts[2:])
        found = [(hit.id, hit.score) for hit in index.search("zip files")]
        assert index.add([]).documents == 0
    with Index.build(texts, tmp_path / "whole", encoder=CHECKPOINT, colbert="int8", progress=False) as whole:
        expected = {hit.id: hit.score for hit in whole.search("zip files")}
    assert dict(found) == pytest.approx(expected, abs=1e-6)


def test_a_reader_keeps_its_generation_until_it_is_refreshed(index):
    with Index.open(index.path) as reader, Index.open(index.path, refresh="auto") as follower:
        hits = reader.search(QUERY, 10, weights={"bm25": 1})
        assert not reader.refresh()
        index.upsert([document("b", 1)], encodings([("b", 1)]))
        check(reader, {"a": 0, "b": 0, "c": 0})
        check(follower, {"a": 0, "b": 1, "c": 0})
        assert reader.refresh()
        assert not reader.refresh()
        check(reader, {"a": 0, "b": 1, "c": 0})
        assert {hit.id: hit.metadata["version"] for hit in hits} == dict.fromkeys([hit.id for hit in hits], 0)
    with pytest.raises(ClosedError, match="is closed"):
        reader.refresh()
    with pytest.raises(InputError, match="refresh is 'sometimes': give 'manual' or 'auto'"):
        Index.open(index.path, refresh="sometimes")
