"""The store: opened once in a process, without waiting for a writer in another."""

from pathlib import Path

from small_index import Process, answers, build, opened_answers

from m3search import Index

HOLD_A_WRITE_TRANSACTION = """
from pathlib import Path
from m3search.storage import IndexWriter
with IndexWriter(Path(sys.argv[1])) as writer, writer.environment.write() as transaction:
    transaction.put(b"rother", b"x")
    print("held", flush=True)
    sys.stdin.readline()
"""
OPEN_AND_SEARCH = """
from small_index import opened_answers
print(len(opened_answers(sys.argv[1])[1]))
"""


def test_opening_and_searching_does_not_wait_for_a_write_transaction_elsewhere(tmp_path):
    build(tmp_path / "i")
    with Process(HOLD_A_WRITE_TRANSACTION, tmp_path / "i") as holder:
        assert holder.line() == "held"
        with Process(OPEN_AND_SEARCH, tmp_path / "i") as reader:
            assert reader.end(timeout=60) == (0, "20\n")
        holder.say("done")
        assert holder.end() == (0, "")


def test_a_store_opened_again_through_a_link_is_the_same_one(tmp_path):
    build(tmp_path / "i")
    (tmp_path / "link").symlink_to(tmp_path / "i", target_is_directory=True)
    with Index.open(tmp_path / "i") as index, Index.open(tmp_path / "link") as again:
        assert again._environment is index._environment
        assert answers(again) == answers(index)
    assert opened_answers(Path(tmp_path / "link")) == opened_answers(tmp_path / "i")
