"""Measures are what their definitions say, over every judged query, in the order of the run."""

from __future__ import annotations

import math
import random
import sys

import pytest

from m3search.errors import InputError, MissingExtraError
from m3search.evaluation import depth_for
from m3search.evaluation.measures import compute

ir_measures = pytest.importorskip("ir_measures")

QRELS = {"q1": {"a": 3, "b": 1, "c": 0}, "q2": {"d": 1}}


def ranking(*documents):
    return [(document, 1.0 / rank) for rank, document in enumerate(documents, start=1)]


def test_values_by_hand():
    run = {"q1": ranking("x", "a", "b"), "q2": ranking("d")}
    values, per_query = compute(["nDCG@10", "R@2", "RR", "AP", "P@2", "P(rel=2)@2"], QRELS, run)
    gain = (3 / math.log2(3) + 1 / math.log2(4)) / (3 / math.log2(2) + 1 / math.log2(3))
    assert per_query["nDCG@10"] == pytest.approx({"q1": gain, "q2": 1.0})
    assert per_query["R@2"] == {"q1": 0.5, "q2": 1.0}
    assert per_query["RR"] == {"q1": 0.5, "q2": 1.0}
    assert per_query["AP"] == pytest.approx({"q1": (1 / 2 + 2 / 3) / 2, "q2": 1.0})
    assert values == pytest.approx(
        {"nDCG@10": (gain + 1) / 2, "R@2": 0.75, "RR": 0.75, "AP": 19 / 24, "P@2": 0.5, "P(rel=2)@2": 0.25}
    )


def test_a_judged_query_that_is_missing_counts_as_zero():
    for run in ({"q1": ranking("a")}, {"q1": ranking("a"), "q2": []}):
        values, per_query = compute(["RR", "RR@10", "nDCG@10", "Judged@10"], QRELS, run)
        assert per_query["RR"] == per_query["RR@10"] == {"q1": 1.0, "q2": 0.0}
        assert values["RR"] == values["RR@10"] == 0.5
        assert per_query["nDCG@10"]["q2"] == 0.0
    assert compute(["AP", "R@100"], QRELS, {})[0] == {"AP": 0.0, "R@100": 0.0}


def test_a_query_without_judgements_is_ignored():
    run = {"q1": ranking("a"), "q2": ranking("d"), "q3": ranking("a", "d")}
    values, per_query = compute(["RR"], QRELS, run)
    assert values == {"RR": 1.0}
    assert set(per_query["RR"]) == {"q1", "q2"}


def test_a_query_with_nothing_relevant_counts_as_zero():
    values, _ = compute(["nDCG@10", "RR"], {"q1": {"a": 1}, "q2": {"b": 0}}, {"q1": ranking("a"), "q2": ranking("b")})
    assert values == {"nDCG@10": 0.5, "RR": 0.5}


@pytest.mark.parametrize("measure", ["RR", "RR@10", "nDCG@10", "AP", "ERR@10"])
def test_the_order_of_the_run_decides_ties(measure):
    if measure == "ERR@10":
        import shutil

        if shutil.which("perl") is None:
            pytest.skip("ir_measures computes ERR by perl")
    qrels = {"q": {"b": 1}}
    first = compute([measure], qrels, {"q": [("b", 1.0), ("a", 1.0), ("c", 1.0)]})[0][measure]
    second = compute([measure], qrels, {"q": [("a", 1.0), ("b", 1.0), ("c", 1.0)]})[0][measure]
    third = compute([measure], qrels, {"q": [("a", 1.0), ("c", 1.0), ("b", 1.0 - 1e-12)]})[0][measure]
    assert first > second > third > 0


def test_ids_may_be_anything():
    qrels = {"q 1": {"a b": 1}, "\u6771": {"\n": 2, "": 1}}
    run = {"q 1": ranking("a b"), "\u6771": ranking("x y", "\n")}
    _, per_query = compute(["RR", "RR@10", "Judged@2"], qrels, run)
    assert per_query["RR"] == per_query["RR@10"] == {"q 1": 1.0, "\u6771": 0.5}
    assert per_query["Judged@2"] == {"q 1": 1.0, "\u6771": 0.5}


def test_ir_measures_itself_agrees_where_there_are_no_ties():
    draw = random.Random(5)
    documents = [f"d{n}" for n in range(60)]
    qrels = {f"q{n}": {d: draw.randint(0, 3) for d in draw.sample(documents, 12)} for n in range(20)}
    run = {f"q{n}": ranking(*draw.sample(documents, 40)) for n in range(3, 25)}
    names = ["nDCG@10", "nDCG", "R@20", "AP", "RR@10", "P@5", "Rprec", "Success@3", "Bpref", "Judged@10", "NumRet"]
    plain = {query: dict(hits) for query, hits in run.items()}
    parsed = [ir_measures.parse_measure(name) for name in names]
    expected = {str(measure): value for measure, value in ir_measures.calc_aggregate(parsed, qrels, plain).items()}
    assert compute(names, qrels, run)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ndcg@10", "ndgc@10"], r"no measure 'ndcg@10': did you mean nDCG@10\?"),
        (["nDCG@10", "recall@5"], r"no measure 'recall@5': did you mean R@5\?"),
        (["map"], r"did you mean AP\?"),
        (["hit@3"], r"did you mean Success@3\?"),
        (["zzz"], r"no measure 'zzz': write for example nDCG@10"),
        ([""], "no measure ''"),
        (["nDCG@"], "no measure 'nDCG@'"),
        (["nDCG@10; x"], "no measure"),
        (["__import__('os')"], "no measure"),
        (["R(foo=2)@5"], r"no measure 'R\(foo=2\)@5'"),
        (["nDCG@0"], r"the cutoff of 'nDCG@0' is 0: give a whole number from 1"),
        (["nDCG@-1"], "no measure 'nDCG@-1'|the cutoff of 'nDCG@-1' is -1"),
        (["R(cutoff=0)"], "the cutoff of"),
        (["P@1.5"], "the cutoff of 'P@1.5' is 1.5"),
        (["P@True"], "the cutoff of 'P@True' is True"),
        (["R@99999999"], "from 1 to 1,000,000"),
        (["R"], "the measure 'R' lacks a parameter or has a wrong one: write for example R@10"),
        ([7], "7 is no measure"),
        ([], "give a list of names"),
        ("nDCG@10", "give a list of names"),
    ],
)
def test_a_wrong_measure(names, message):
    with pytest.raises(InputError, match=message):
        compute(names, QRELS, {})


def test_a_measure_that_cannot_be_computed_here(monkeypatch):
    for provider in ir_measures.DefaultPipeline.providers:
        monkeypatch.setattr(provider, "is_available", lambda: False)
    with pytest.raises(InputError, match="needs a provider of ir_measures that is not installed"):
        compute(["nDCG@10"], QRELS, {})


def test_nothing_judged_and_impossible_grades():
    with pytest.raises(InputError, match="no judged query"):
        compute(["RR"], {}, {})
    for grade in (3_000_000_000, True, 1.0):
        with pytest.raises(InputError, match="query 'q': the grade of document 'a' is"):
            compute(["RR"], {"q": {"a": grade}}, {})


def test_the_depth_follows_the_cutoffs():
    assert depth_for(["nDCG@10"]) == 100
    assert depth_for(["nDCG@10", "R@250"]) == 250
    assert depth_for(["R(cutoff=300)"]) == 300
    assert depth_for(["nDCG@10", "AP"]) == depth_for(["Rprec"]) == 1000
    assert depth_for(["AP", "R@2000"]) == 2000


def test_without_ir_measures_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'm3search\[eval\]'"):
        depth_for(["nDCG@10"])
