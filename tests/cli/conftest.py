"""The command line as users run it: a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SWIG = "ignore:builtin type:DeprecationWarning"  # a warning of CPython about faiss, not ours
CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"


class Result:
    """What a command left behind."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def m3search():
    """Runs ``m3search`` with arguments."""

    def run(*arguments, stdin=None, **environment):
        program = [sys.executable, "-W", "error", "-W", SWIG, "-c", "from m3search.cli import main; main()"]
        command = [*program, *map(str, arguments)]
        env = {**os.environ, "COLUMNS": "120", **environment}
        return Result(subprocess.run(command, input=stdin, capture_output=True, text=True, env=env, check=False))

    return run


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A BEIR folder of six documents and two queries."""
    folder = tmp_path_factory.mktemp("beir") / "tiny"
    (folder / "qrels").mkdir(parents=True)
    texts = {
        "zip": "read and write zip archives",
        "tar": "read and write tar archives",
        "json": "parse and dump json text",
        "csv": "rows of comma separated values",
        "lock": "a lock that threads wait for",
        "queue": "a queue between threads",
    }
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": name, "title": name, "text": text}) + "\n" for name, text in texts.items())
    )
    queries = {"q1": "zip archives", "q2": "threads"}
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in queries.items())
    )
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\tzip\t2\nq1\ttar\t1\nq2\tlock\t1\nq2\tqueue\t1\n"
    )
    return folder


@pytest.fixture(scope="session")
def built(m3search, collection, tmp_path_factory):
    """An index of the collection, with every leg."""
    path = tmp_path_factory.mktemp("indexes") / "tiny"
    result = m3search("build", collection, "--index", path, "--encoder", CHECKPOINT, "--colbert", "int8")
    assert result.code == 0, result.err
    return path
