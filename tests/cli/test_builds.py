"""Builds that are interrupted and go on, and indexes that are rebuilt, as users do it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m3search import Index
from m3search.storage.journal import unfinished

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"
MAIN = "from m3search.cli import main; main()"
LINES = [json.dumps({"id": f"d{number}", "text": f"the lazy dog reads book {number}"}) + "\n" for number in range(1100)]


@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_ctrl_c_keeps_what_was_encoded_and_resume_goes_on(m3search, tmp_path):
    path = tmp_path / "i"
    options = ["--index", path, "--encoder", CHECKPOINT, "--threads", "1"]
    # a shell's background jobs, such as these tests may be one, inherit that SIGINT is ignored
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
    command = [sys.executable, "-c", heard, "build", "-", *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # the first chunk is encoded as soon as the second one is read; then the third one lets it wait
        process.stdin.write("".join(LINES[:1040]))
        process.stdin.flush()
        deadline = time.monotonic() + 100
        while not list(path.glob("segments/*.0")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    left = unfinished(path)
    assert left == 512
    assert "512 documents are encoded and kept in" in said.replace("\n", "")
    assert "(--resume) to go on" in " ".join(said.split())
    (tmp_path / "corpus.jsonl").write_text("".join(LINES))
    other = m3search("build", tmp_path / "corpus.jsonl", *options, "--segment-size", "9", "--resume")
    assert other.code == 1
    assert "segment_size was 100000 and is 9" in " ".join(other.err.split())
    done = m3search("build", tmp_path / "corpus.jsonl", *options, "--resume", "--json")
    assert done.code == 0, done.err
    assert "512 documents are encoded already" in done.err
    assert (done.json["documents"], done.json["resumed"]) == (1100, 512)
    again = m3search("build", tmp_path / "corpus.jsonl", *options, "--resume", "--overwrite")
    assert "there is nothing to go on with" in again.err
    assert "1,100 documents in 1,100 passages" in again.out


def test_a_build_that_begins_anew_says_what_it_discards(m3search, tmp_path):
    path = tmp_path / "i"

    def broken():
        yield from map(json.loads, LINES[:600])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index.build(broken(), path, encoder=None, segment_size=100)
    (tmp_path / "corpus.jsonl").write_text("".join(LINES[:50]))
    done = m3search("build", tmp_path / "corpus.jsonl", "--index", path, "--encoder", "none")
    assert done.code == 0, done.err
    assert "an unfinished build with 500 documents is in" in " ".join(done.err.split())
    assert "encoded before" not in done.out


def test_an_index_is_rebuilt(m3search, built, tmp_path):
    made = m3search(
        "rebuild", built, "--to", tmp_path / "new", "--dense", "hnsw", "--colbert", "int8+bits", "--language", "de",
        "--segment-size", "4", "--threads", "1", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert (made.json["index"], made.json["documents"]) == (str(tmp_path / "new"), 6)
    info = m3search("info", tmp_path / "new", "--json").json
    assert (info["segments"], info["colbert"]["codec"]) == (2, "int8+bits")
    weights = ["--weights", "dense=1,colbert=1", "--json"]
    before, after = (m3search("search", path, "zip archives", *weights).json for path in (built, tmp_path / "new"))
    assert [hit["id"] for hit in before["hits"]] == [hit["id"] for hit in after["hits"]]
    less = m3search("rebuild", tmp_path / "new", "--to", tmp_path / "less", "--colbert", "none", "--no-bm25")
    assert less.code == 0, less.err
    assert f"{tmp_path / 'less'}: 6 documents in 6 passages" in less.out.replace("\n", "")
    assert m3search("info", tmp_path / "less", "--json").json["legs"] == ["dense", "lexical"]
    refused = m3search("rebuild", built, "--to", tmp_path / "no", "--colbert", "bf16")
    assert (refused.code, "cannot become bf16" in refused.err) == (1, True)


@pytest.mark.parametrize("command", ["add", "delete", "merge"])
def test_changes_take_a_number_of_threads(m3search, built, tmp_path, command):
    shutil.copytree(built, tmp_path / "i")
    (tmp_path / "more.jsonl").write_text('{"id": "new", "text": "a book"}\n')
    arguments = {"add": [tmp_path / "more.jsonl"], "delete": ["zip"], "merge": []}[command]
    done = m3search(command, tmp_path / "i", *arguments, "--threads", "1")
    assert done.code == 0, done.err
    if command == "add":
        refused = m3search(command, tmp_path / "i", *arguments, "--replace", "--threads", "0")
        assert (refused.code, "threads is 0: give a number from 1" in refused.err) == (1, True)
