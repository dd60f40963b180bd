"""Builds that are interrupted: what was committed is not encoded again, and the index is the one without the interruption."""

import errno
import itertools
import json
import os
import shutil
import signal
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from resuming import BLENDS, build, held, load, small_chunks, source

from m3search import Document, Encodings, Index
from m3search.errors import (
    CorruptionError,
    DocumentError,
    EncodingsError,
    IndexExistsError,
    IndexNotFoundError,
    M3SearchWarning,
    ResumeError,
    SourceError,
    StorageError,
)
from m3search.storage import IndexWriter
from m3search.storage.journal import unfinished
from m3search.storage.keys import BUILDING_KEY, JOURNAL_KEY

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from small_index import Process

DOCUMENTS = source()


@pytest.fixture(scope="module")
def encoder():
    return load()


@pytest.fixture
def chunked(monkeypatch):
    small_chunks(monkeypatch)


@pytest.fixture(scope="module")
def whole(encoder, tmp_path_factory):
    """What an uninterrupted build gives, and the texts that it encodes."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch)
        report = build(DOCUMENTS, folder / "i", encoder.watch(folder / "log"))
    return held(folder / "i", encoder), list(encoder.texts), report


def interrupt(path, encoder, group, failure=None, documents=DOCUMENTS, **options):
    """A build that fails when it has encoded so many groups; the documents that it leaves encoded."""
    failure = KeyboardInterrupt() if failure is None else failure
    with pytest.raises(type(failure)) as raised:
        build(documents, path, encoder.watch(path.with_suffix(".log"), group, failure), **options)
    encoder.fail_at = None
    left = unfinished(path)
    notes = " ".join(getattr(raised.value, "__notes__", []))
    assert (f"{left:,} documents are encoded and kept" in notes) == bool(left)
    return left


@pytest.mark.parametrize("group", range(10))
def test_it_goes_on_where_it_stood_and_what_it_builds_is_the_same(encoder, tmp_path, chunked, whole, group):
    path = tmp_path / "i"
    left = interrupt(path, encoder, group)
    assert left == min(5 * group, 47)
    encoded = list(encoder.texts)
    report = build(DOCUMENTS, path, encoder.watch(tmp_path / "log"), resume=True)
    expected, texts, uninterrupted = whole
    assert encoded + encoder.texts == texts  # nothing twice, and nothing left out
    assert held(path, encoder) == expected
    assert report.resumed == left
    found = report.to_dict() | {"seconds": 0, "resumed": 0}
    assert found == uninterrupted.to_dict() | {"seconds": 0}
    with IndexWriter(path) as writer:
        assert writer.manifest(BUILDING_KEY) is None
        assert writer.journal_record() is None
        named = {info.uuid for info in writer.manifest().segments}
        assert {name.split(".")[0] for name in writer.directory.names()} == named


def test_many_interruptions_are_as_good_as_one(encoder, tmp_path, chunked, whole):
    path, encoded = tmp_path / "i", []
    for _ in range(9):
        interrupt(path, encoder, 1, resume=True)
        encoded += encoder.texts
    build(DOCUMENTS, path, encoder.watch(tmp_path / "log"), resume=True)
    assert encoded + encoder.texts == whole[1]
    assert held(path, encoder) == whole[0]


KILLED = '''
"""Builds with resume until one comes to its end, each in a fork that dies some calls later; prints what each did."""
import json, signal, sys, warnings
from pathlib import Path

sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore", DeprecationWarning)
import pytest
from forks import dying_at, in_a_fork
from resuming import build, held, load, small_chunks, source
from m3search.storage.journal import unfinished

small_chunks(pytest.MonkeyPatch())
path, step = Path(sys.argv[2]), int(sys.argv[3])
CALLS = {"write", "fsync", "rename", "put", "delete", "unlink", "mkdir"}
encoder, documents = load(), source()


def built():
    build(documents, path, encoder.watch(path.with_suffix(".log")), resume=True)


point = 3
while True:
    log = path.with_suffix(".log")
    log.write_text("")
    before = in_a_fork(lambda: unfinished(path))
    left = in_a_fork(dying_at(point, CALLS, built))
    print(json.dumps([before, left, sum(map(int, log.read_text().split()))]), flush=True)
    if left != -signal.SIGKILL:
        break
    point += step
'''


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("step", [29])
def test_kills_at_many_calls_lose_one_chunk_at_most(encoder, tmp_path, chunked, whole, step):
    """Each build dies at a later call than the one before it, and goes on where that one stood."""
    with Process(KILLED, Path(__file__).parent, tmp_path / "i", step) as process:
        code, out = process.end()
    assert code == 0, out
    rounds = [json.loads(line) for line in out.splitlines()]
    assert len(rounds) > 6
    assert [left for _, left, _ in rounds] == [-signal.SIGKILL] * (len(rounds) - 1) + [0]
    passages = passages_of(whole)
    found = [before for before, _, _ in rounds]
    assert found == sorted(found)
    assert found[-1] > 0
    for (before, _, encoded), (after, _, _) in itertools.pairwise(rounds):
        committed = sum(passages[before:after])
        assert committed <= encoded <= committed + sum(passages[after : after + 5])
    before, _, encoded = rounds[-1]
    assert encoded == sum(passages[before:])
    assert held(tmp_path / "i", encoder) == whole[0]


def passages_of(whole):
    """How many each document has."""
    texts, sizes, place = whole[1], [], 0
    for document in DOCUMENTS:
        start = place
        while place < len(texts) and document.content.strip() and belongs(texts[place], document, place == start):
            place += 1
        sizes.append(place - start)
    assert place == len(texts)
    return sizes


def belongs(text, document, first):
    prefix = f"{document.title}\n" if document.title else ""
    if not text.startswith(prefix):
        return False
    body = text.removeprefix(prefix)
    return document.text.startswith(body) if first else body in document.text


# -- another source --


def edited(number, text="something else"):
    return [Document(d.id, text, d.title, d.metadata) if n == number else d for n, d in enumerate(DOCUMENTS)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (edited(0), r"something among documents 1 to \d+ has changed"),
        (edited(13), r"something among documents \d+ to 16 has changed"),
        (edited(19), r"something among documents 17 to 20 has changed"),
        (DOCUMENTS[1:], r"something among documents 1 to \d+ has changed"),
        ([*DOCUMENTS[:3], *DOCUMENTS[4:2:-1], *DOCUMENTS[5:]], r"something among documents 4 to \d+ has changed"),
        (DOCUMENTS[:11], "the source has 11 documents, but the interrupted build in .* had taken 20"),
        ([], "the source has 0 documents"),
        ([*DOCUMENTS[:5], {"text": "no id"}, *DOCUMENTS[6:]], "interrupted build in .* read: .*there is no id"),
    ],
)
def test_a_source_that_has_changed_is_noticed_and_nothing_is_lost(encoder, tmp_path, chunked, whole, changed, message):
    path = tmp_path / "i"
    assert interrupt(path, encoder, 4) == 20
    with pytest.raises(ResumeError, match=message):
        build(changed, path, encoder.watch(tmp_path / "log"), resume=True)
    assert encoder.texts == []
    assert unfinished(path) == 20
    build(DOCUMENTS, path, encoder, resume=True)
    assert held(path, encoder) == whole[0]


def test_what_comes_after_the_last_commit_may_be_another(encoder, tmp_path, chunked):
    path = tmp_path / "i"
    interrupt(path, encoder, 4)
    now = [*DOCUMENTS[:20], Document("new", "a lazy dog"), *DOCUMENTS[30:]]
    build(now, path, encoder, resume=True)
    build(now, tmp_path / "other", encoder)
    assert held(path, encoder) == held(tmp_path / "other", encoder)


def test_a_file_may_have_moved(encoder, tmp_path, chunked):
    """The source is known by what it says, not by its name."""
    from m3search.indexing.sources import open_source

    lines = "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in DOCUMENTS)
    (tmp_path / "a.jsonl").write_text(lines)
    interrupt(tmp_path / "i", encoder, 3, documents=open_source(tmp_path / "a.jsonl"))
    (tmp_path / "b.jsonl").write_text(lines)
    report = build(open_source(tmp_path / "b.jsonl"), tmp_path / "i", encoder, resume=True)
    assert (report.documents, report.resumed) == (47, 15)


# -- other settings --


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_size": 13}, "segment_size was 12 and is 13"),
        ({"colbert": "int8"}, "colbert was 'int8.bits' and is 'int8'"),
        ({"colbert": None}, "colbert_dim was 64 and is None"),
        ({"dense": "hnsw"}, "dense was 'auto' and is 'hnsw'"),
        ({"bm25": {"language": "de"}}, "bm25 was .*'en'.* and is .*'de'"),
        ({"bm25": False}, "bm25 was .* and is None"),
        ({"weights": {"dense": 1}}, "weights was"),
        ({"on_error": "skip"}, "on_error was 'raise' and is 'skip'"),
    ],
)
def test_other_settings_are_noticed_and_nothing_is_lost(encoder, tmp_path, chunked, whole, options, message):
    path = tmp_path / "i"
    interrupt(path, encoder, 4)
    with pytest.raises(ResumeError, match=rf"had other settings: .*{message}.*: give the same ones to go on, or leave"):
        build(DOCUMENTS, path, encoder.watch(tmp_path / "log"), resume=True, **options)
    assert encoder.texts == []
    assert unfinished(path) == 20
    build(DOCUMENTS, path, encoder, resume=True)
    assert held(path, encoder) == whole[0]


def test_another_encoder_is_noticed(encoder, tmp_path, chunked):
    from m3search import Encoder

    interrupt(tmp_path / "i", encoder, 2)
    with pytest.raises(ResumeError, match="encoder's max_tokens was 32 and is 20"):
        build(DOCUMENTS, tmp_path / "i", Encoder.load(encoder.name, max_tokens=20), resume=True)
    with pytest.raises(ResumeError, match=r"encoder was '.*checkpoint' and is None"):
        build(DOCUMENTS, tmp_path / "i", None, resume=True, colbert=None)
    assert unfinished(tmp_path / "i") == 10


# -- what is kept and what is not --


@pytest.mark.parametrize("error", [DocumentError("bad"), EncodingsError("bad"), SourceError("bad", kind="not UTF-8")])
def test_bad_input_discards_the_stage_and_a_build_that_goes_on_begins_anew(encoder, tmp_path, chunked, whole, error):
    path = tmp_path / "i"
    assert interrupt(path, encoder, 4, error) == 0
    assert not path.exists()
    build(DOCUMENTS, path, encoder.watch(tmp_path / "log"), resume=True)
    assert encoder.texts == whole[1]
    assert held(path, encoder) == whole[0]


@pytest.mark.parametrize(
    "error",
    [
        StorageError("the disk is full"),
        SourceError("cannot be read"),
        MemoryError(),
        RuntimeError("the model"),
        OSError(errno.EIO, "x"),
    ],
)
def test_whatever_else_fails_what_was_encoded_is_kept(encoder, tmp_path, chunked, error):
    assert interrupt(tmp_path / "i", encoder, 4, error) == 20


def test_a_bad_record_after_the_commits_discards_them(encoder, tmp_path, chunked):
    with pytest.raises(DocumentError):
        build([*DOCUMENTS[:30], {"text": "no id"}], tmp_path / "i", encoder)
    assert not (tmp_path / "i").exists()


def test_a_build_without_resume_discards_what_is_left_and_says_so(encoder, tmp_path, chunked, whole):
    path = tmp_path / "i"
    interrupt(path, encoder, 4)
    with pytest.warns(M3SearchWarning, match=r"an unfinished build with 20 documents in .* was discarded: resume=True"):
        build(DOCUMENTS, path, encoder.watch(tmp_path / "log"))
    assert encoder.texts == whole[1]


def test_what_is_served_stays_until_the_end_and_may_be_changed_meanwhile(encoder, tmp_path, chunked, whole):
    path = tmp_path / "i"
    build(source(20, seed=1), path, encoder)
    interrupt(path, encoder, 4, overwrite=True)
    with Index.open(path, mode="w") as index:
        assert len(index) == 20
        index.delete(["d3"])
        index.merge(100)
    with pytest.raises(IndexExistsError, match="overwrite=True"):
        build(DOCUMENTS, path, encoder, resume=True)
    build(DOCUMENTS, path, encoder.watch(tmp_path / "log"), resume=True, overwrite=True)
    assert encoder.texts == whole[1][-len(encoder.texts) :]
    assert held(path, encoder) == whole[0]


def test_an_unfinished_build_is_no_index(encoder, tmp_path, chunked):
    interrupt(tmp_path / "i", encoder, 4)
    with pytest.raises(IndexNotFoundError, match=r"no index that was finished.*resume"):
        Index.open(tmp_path / "i")


def test_nothing_is_left_of_an_own_folder(encoder, tmp_path, monkeypatch, chunked):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        build(DOCUMENTS, None, encoder.watch(os.devnull, 4, KeyboardInterrupt()))
    assert list(tmp_path.iterdir()) == []


def test_skipped_records_are_reported_as_without_the_interruption(encoder, tmp_path, chunked):
    mixed = [*DOCUMENTS[:3], {"text": "no id"}, *DOCUMENTS[3:], DOCUMENTS[2]]
    options = {"documents": mixed, "on_error": "skip"}
    interrupt(tmp_path / "i", encoder, 4, **options)
    with pytest.warns(M3SearchWarning, match="2 records skipped"):
        report = build(mixed, tmp_path / "i", encoder, resume=True, on_error="skip")
    assert report.skipped.kinds == {"missing id": 1, "duplicate id": 1}
    assert report.documents == 47


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_damage_of_the_journal_is_found(encoder, tmp_path, chunked, damage):
    path = tmp_path / "i"
    interrupt(path, encoder, 4)
    with IndexWriter(path) as writer:
        record = writer.journal_record()
    file = path / "segments" / f"{record.name}.{record.chunks[0].first}"
    if damage == "remove":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 4
        file.write_bytes(data)
    with pytest.raises(CorruptionError, match=r"journal.*build again without resume"):
        build(DOCUMENTS, path, encoder, resume=True)
    with pytest.warns(M3SearchWarning, match="discarded"):
        build(DOCUMENTS, path, encoder)


def test_a_damaged_record_of_the_journal_is_found_and_goes_with_the_next_build(encoder, tmp_path, chunked, whole):
    path = tmp_path / "i"
    interrupt(path, encoder, 4)
    with IndexWriter(path) as writer, writer.commit() as transaction:
        transaction.put(JOURNAL_KEY, b"nonsense" * 5)
    with pytest.raises(CorruptionError, match="the journal of"):
        build(DOCUMENTS, path, encoder, resume=True)
    build(DOCUMENTS, path, encoder)
    assert held(path, encoder) == whole[0]


# -- builds that encode nothing --


def rows(encodings, start, stop):
    ends = encodings.offsets
    part = encodings.rows(int(ends[start]), int(ends[stop]))
    return Encodings(part.dense, part.lexical, part.colbert, ends[start : stop + 1] - ends[start])


def test_given_encodings_go_on_after_the_last_whole_segment(encoder, tmp_path):
    contents = [document.content or "x" for document in DOCUMENTS]
    made = encoder.encode(contents, colbert=True)
    made = Encodings(made.dense, made.lexical, made.colbert, np.arange(48))

    def batches(stop=47, failure=None):
        for start in range(0, stop, 5):
            yield rows(made, start, min(start + 5, 47))
        if failure is not None:
            raise failure

    with pytest.raises(KeyboardInterrupt):
        build(DOCUMENTS, tmp_path / "i", None, encodings=batches(30, KeyboardInterrupt()))
    assert unfinished(tmp_path / "i") == 24
    with pytest.raises(ResumeError, match="encodings was 'given' and is 'made'"):
        build(DOCUMENTS, tmp_path / "i", encoder, resume=True)
    with pytest.raises(ResumeError, match="something among documents 13 to 24 has changed"):
        build(edited(17), tmp_path / "i", None, encodings=batches(), resume=True)
    report = build(DOCUMENTS, tmp_path / "i", None, encodings=batches(), resume=True)
    assert (report.documents, report.resumed) == (47, 24)
    build(DOCUMENTS, tmp_path / "other", None, encodings=made)
    found = [[(d.id, d.text) for d in Index.open(tmp_path / name)] for name in ("i", "other")]
    assert found[0] == found[1]
    query = encoder.encode(["lazy fox"], query=True, colbert=True)
    blend = {"dense": 1, "lexical": 0.3, "colbert": 1}
    answers = []
    for name in ("i", "other"):
        with Index.open(tmp_path / name) as index:
            hits = index.search("lazy fox", 47, encodings=query, weights=blend)
            answers.append([(hit.id, hit.score, dict(hit.parts)) for hit in hits])
    assert len(answers[0]) == 47
    assert answers[0] == answers[1]


def test_terms_alone_go_on_after_the_last_whole_segment(tmp_path, chunked):
    def broken():
        yield from DOCUMENTS[:40]
        raise KeyboardInterrupt

    options = {"colbert": None, "segment_size": 12}
    with pytest.raises(KeyboardInterrupt):
        build(broken(), tmp_path / "i", None, **options)
    assert unfinished(tmp_path / "i") == 36
    report = build(DOCUMENTS, tmp_path / "i", None, resume=True, **options)
    assert (report.resumed, report.empty.count) == (36, 5)
    build(DOCUMENTS, tmp_path / "other", None, **options)
    blends = [{"bm25": 1}]
    assert held(tmp_path / "i", None, blends) == held(tmp_path / "other", None, blends)


# -- memory --


def test_memory_is_bounded_by_chunks_and_a_segment_not_by_the_source(encoder, tmp_path, chunked):
    """Traced while builds of 300 and 1,500 documents run: a document leaves its id behind, 16 bytes in a Python set."""
    peaks = []
    for count in (300, 1500):
        texts = ({"id": f"d{number}", "text": "the lazy dog reads " * 4} for number in range(count))
        tracemalloc.start()
        build(texts, tmp_path / f"{count}", encoder.watch(os.devnull), segment_size=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        shutil.rmtree(tmp_path / f"{count}")
    assert (peaks[1] - peaks[0]) / 1200 < 400, peaks


def test_blends_are_worth_comparing(whole):
    """The comparison above is of answers that are there."""
    answers = whole[0][0]
    assert [len(found) for found in answers] == [47 - 5] * len(BLENDS) or all(len(found) > 10 for found in answers)
