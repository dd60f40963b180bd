"""BEIR's queries and judgements are read, and every unreadable line is named."""

from __future__ import annotations

import json

import pytest

from m3search.errors import SourceError
from m3search.evaluation import load_beir

HEADER = "query-id\tcorpus-id\tscore\n"


def folder(tmp_path, qrels, queries=None):
    root = tmp_path / "tiny"
    (root / "qrels").mkdir(parents=True)
    if queries is None:
        queries = [{"_id": name, "text": f"text of {name}"} for name in ("q1", "q2", "q3")]
    if not isinstance(queries, bytes):
        queries = "\n".join(map(json.dumps, queries)).encode()
    (root / "queries.jsonl").write_bytes(queries)
    (root / "qrels" / "test.tsv").write_bytes(qrels if isinstance(qrels, bytes) else qrels.encode())
    return root


@pytest.mark.parametrize(
    "qrels",
    [
        HEADER + "q1\td1\t2\nq1\td2\t0\n\nq3\td1\t1",
        "q1\td1\t2\nq1\td2\t0\nq3\td1\t1\nq3\td1\t1\n",
        ("\ufeff" + HEADER + "q1\td1\t2\nq1\td2\t0\nq3\td1\t1\n").replace("\n", "\r\n"),
        "q\tdoc\tRelevance\nq1\td1\t2\nq1\td2\t0\nq3\td1\t1\n",
    ],
)
def test_a_split_has_the_judged_queries(tmp_path, qrels):
    dataset = load_beir(folder(tmp_path, qrels))
    assert dataset.name == "tiny/test"
    assert dataset.queries == {"q1": "text of q1", "q3": "text of q3"}
    assert dataset.qrels == {"q1": {"d1": 2, "d2": 0}, "q3": {"d1": 1}}


def test_ids_may_be_ints_and_hold_spaces(tmp_path):
    root = folder(tmp_path, "7\ta b\t1\n", b'\xef\xbb\xbf{"id": 7, "text": "caf\xc3\xa9"}\r\n\r\n')
    assert load_beir(str(root)).queries == {"7": "caf\u00e9"}
    assert load_beir(root).qrels == {"7": {"a b": 1}}


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (HEADER + "q1\td1\t2\nq1\td2\n", r"test\.tsv:3: 2 columns: a judgement is query-id"),
        ("q1 0 d1 1\n", r"test\.tsv:1: 1 columns"),
        (HEADER + "q1\td1\tgood\n", r"test\.tsv:2: the grade 'good' is no whole number"),
        ("q1\td1\thigh\n", r"test\.tsv:1: the grade 'high'"),
        (HEADER + HEADER, r"test\.tsv:2: the grade 'score'"),
        (HEADER + "q1\td1\t1.5\n", "the grade '1.5'"),
        (HEADER + "q1\td1\t3000000000\n", r"test\.tsv:2: the grade 3000000000 is out of range"),
        (HEADER + "\td1\t1\n", r"test\.tsv:2: an id is empty"),
        (HEADER + "q1\td1\t1\nq1\td1\t2\n", r"test\.tsv:3: document 'd1' has grade 2 for query 'q1', and 1 on"),
        (b"q1\td\xff\t1\n", r"test\.tsv:1: byte 0xff at position 4 is not UTF-8"),
        (HEADER, r"test\.tsv: there are no judgements"),
        (
            HEADER + "q1\td1\t1\nq8\td1\t1\nq9\td1\t1\n",
            "2 judged queries are not in .*queries.jsonl, the first is 'q8'",
        ),
    ],
)
def test_bad_judgements(tmp_path, qrels, message):
    with pytest.raises(SourceError, match=message):
        load_beir(folder(tmp_path, qrels))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (b'{"_id": "q1", "text": "a"}\n{"_id"', r"queries\.jsonl:2: broken JSON at column \d+"),
        (b"[1]", r"queries\.jsonl:1: not a JSON object"),
        (b'{"text": "a"}', r":1: there is no \"_id\" that is a string"),
        (b'{"_id": "", "text": "a"}', r":1: there is no \"_id\""),
        (b'{"_id": "q1"}', r":1: the query 'q1' has no \"text\""),
        (b'{"_id": "q1", "text": null}', r":1: the query 'q1' has no \"text\""),
        (b'{"_id": "q1", "text": "a"}\n' * 2, r":2: the query 'q1' was there already"),
        (b'{"_id": "q1", "text": "\xff"}', r":1: byte 0xff"),
    ],
)
def test_bad_queries(tmp_path, queries, message):
    with pytest.raises(SourceError, match=message):
        load_beir(folder(tmp_path, "q1\td1\t1\n", queries))


def test_what_is_not_there(tmp_path):
    root = folder(tmp_path, "q1\td1\t1\n")
    (root / "qrels" / "dev.tsv").write_text("q1\td1\t1\n")
    with pytest.raises(SourceError, match=r"no judgements for the split 'train': the splits there are dev, test"):
        load_beir(root, "train")
    (root / "queries.jsonl").unlink()
    with pytest.raises(SourceError, match=r"queries\.jsonl: cannot be read: No such file"):
        load_beir(root)
    with pytest.raises(SourceError, match=r"there is no qrels/\*\.tsv in this folder"):
        load_beir(tmp_path)
    with pytest.raises(SourceError, match="there is no such folder: give a BEIR folder"):
        load_beir(tmp_path / "nowhere")
