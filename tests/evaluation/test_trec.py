"""Runs and qrels survive writing and reading, in an order that trec_eval sees too."""

from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3search.errors import InputError, SourceError
from m3search.evaluation import read_qrels, read_run, write_qrels, write_run

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \t\n\r\x0b\x0c"), min_size=1, max_size=6)
SCORES = st.floats(-(2.0**100), 2.0**100, width=32)
HITS = st.dictionaries(IDS, SCORES, max_size=8).map(
    lambda hits: sorted(hits.items(), key=lambda hit: (-hit[1], hit[0]))
)


@given(st.dictionaries(IDS, HITS, max_size=4))
@example({"q": [("b", 1.0), ("a", 1.0), ("\u00a0", 1.0), ("\x85", -0.0), ("\u2028", 0.0)]})
def test_a_run_survives(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("run") / "out.trec"
    write_run(run, path)
    read = read_run(path)
    assert {query: [document for document, _ in hits] for query, hits in read.items()} == {
        query: [document for document, _ in hits] for query, hits in run.items() if hits
    }
    for query, hits in read.items():
        scores = np.array([score for _, score in hits])
        assert scores == pytest.approx([score for _, score in run[query]], rel=1e-5, abs=1e-40)
        assert (np.diff(scores.astype(np.float32)) < 0).all()
    write_run(read, path.with_name("again.trec"))
    assert path.with_name("again.trec").read_bytes() == path.read_bytes()


def test_trec_eval_sees_the_order_that_was_searched(tmp_path):
    ir_measures = pytest.importorskip("ir_measures")
    names = [f"d{n}" for n in range(10)]
    for order in (names, names[::-1]):
        # ties, a difference that 32 bits do not show, and a rerank's rise
        scores = [1.0, 1.0, 1.0, 0.5, 0.5 - 1e-12, 0.5 - 2e-12, 0.7, 0.0, -1.0, -1.0]
        write_run({"q": list(zip(order, scores, strict=True))}, tmp_path / "out.trec")
        for wanted in names:
            run = list(ir_measures.read_trec_run(str(tmp_path / "out.trec")))
            value = ir_measures.calc_aggregate([ir_measures.RR], {"q": {wanted: 1}}, run)[ir_measures.RR]
            assert value == pytest.approx(1 / (order.index(wanted) + 1))


def test_the_lines_are_those_of_trec(tmp_path):
    path = tmp_path / "out.trec"
    path.write_text("old")
    write_run({"q1": [("d1", 2), ("d2", 2.0), ("d3", np.float64(0.1))], "q2": []}, str(path), tag="mine")
    assert path.read_text() == (
        "q1 Q0 d1 1 2 mine\n"
        "q1 Q0 d2 2 1.99999988 mine\n"
        "q1 Q0 d3 3 0.100000001 mine\n"
    )  # fmt: skip
    assert [file.name for file in tmp_path.iterdir()] == ["out.trec"]


def test_runs_of_others_are_read(tmp_path):
    path = tmp_path / "theirs.run"
    path.write_bytes(
        b"\xef\xbb\xbfq1\tQ0\td1\t3\t0.5\tx\r\nq1 Q0 d2 2 0.5 x\n\nq2 0 d 0 -1e3 x\nq1  Q0  d3  1  7  x\nq1 Q0 d4 2 0.5 x"
    )
    assert read_run(path) == {"q1": [("d3", 7.0), ("d2", 0.5), ("d4", 0.5), ("d1", 0.5)], "q2": [("d", -1000.0)]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 0.5", ":2: 5 columns: a line of a run is query Q0 document"),
        ("q Q0 a b 1 0.5 x", ":2: 7 columns"),
        ("q Q0 d 1 high x", ":2: the score 'high' is no finite number"),
        ("q Q0 d 1 nan x", ":2: the score 'nan'"),
        ("q Q0 d 1 inf x", ":2: the score 'inf'"),
        ("q Q0 d first 1 x", ":2: the rank 'first' is no whole number"),
        ("q1 Q0 d1 2 1 x", ":2: document 'd1' was there already for query 'q1'"),
    ],
)
def test_a_line_that_is_no_run(tmp_path, line, message):
    (tmp_path / "bad.run").write_text(f"q1 Q0 d1 1 1.0 x\n{line}\n")
    with pytest.raises(SourceError, match=rf"bad\.run{message}"):
        read_run(tmp_path / "bad.run")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"q": [("a b", 1.0)]}, "the document id 'a b' is empty or has white space"),
        ({"q": [("", 1.0)]}, "the document id '' is empty"),
        ({"q\n": [("a", 1.0)]}, r"the query id 'q\\n'"),
        ({"q": [("\ud800", 1.0)]}, "is no text that UTF-8 can hold"),
        ({"q": [("a", math.nan)]}, "query 'q': the score of 'a' is nan"),
        ({"q": [("a", math.inf)]}, "the score of 'a' is inf"),
        ({"q": [("a", 1e39)]}, "finite 32-bit scores"),
        ({"q": [("a", 1.0), ("a", 0.5)]}, "'a' stands twice in the list"),
    ],
)
def test_a_run_that_cannot_be_written_leaves_the_old_file(tmp_path, run, message):
    path = tmp_path / "out.trec"
    path.write_text("old")
    with pytest.raises(InputError, match=message):
        write_run({"fine": [("x", 1.0)], **run}, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.trec"]


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(SourceError, match=r"out\.trec: cannot be written: No such file"):
        write_run({"q": [("a", 1.0)]}, tmp_path / "nowhere" / "out.trec")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match="folder: cannot be written"):
        write_run({"q": [("a", 1.0)]}, tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="rights are POSIX's")
def test_the_file_has_the_rights_of_any_new_file(tmp_path):
    write_run({"q": [("a", 1.0)]}, tmp_path / "out.trec")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "out.trec").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert os.listdir(tmp_path).count("out.trec") == 1  # noqa: PTH208


@given(st.dictionaries(IDS, st.dictionaries(IDS, st.integers(-2, 1000), min_size=1, max_size=5), max_size=4))
def test_qrels_survive(tmp_path_factory, qrels):
    path = tmp_path_factory.mktemp("qrels") / "out.qrels"
    write_qrels(qrels, path)
    assert read_qrels(path) == qrels


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 d1 1", ":2: 3 columns: a line of qrels is query 0 document grade"),
        ("q1 0 d2 x", ":2: the grade 'x' is no whole number"),
        ("q1 0 d1 2", ":2: document 'd1' has grade 2 for query 'q1', and 1 on an earlier line"),
    ],
)
def test_a_line_that_is_no_judgement(tmp_path, line, message):
    (tmp_path / "bad.qrels").write_text(f"q1 0 d1 1\n{line}\n")
    with pytest.raises(SourceError, match=rf"bad\.qrels{message}"):
        read_qrels(tmp_path / "bad.qrels")
