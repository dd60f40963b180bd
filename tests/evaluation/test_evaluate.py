"""Every judged query is searched once, to the depth that the measures need, and measured in the order found."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from m3search.errors import InputError, SourceError
from m3search.evaluation import Dataset, evaluate, evaluate_run, read_run, write_run

pytest.importorskip("ir_measures")

DATASET = Dataset(
    "tiny/test",
    {f"q{n}": f"text {n}" for n in range(5)},
    {f"q{n}": {f"d{n}": 1, "other": 2} for n in range(5)},
)


def found_second(texts, depth):
    return [[("z", 1.0), (f"d{text.split()[1]}", 1.0), ("other", 0.5)][:depth] for text in texts]


def test_an_evaluation():
    calls = []
    done = []

    def search(texts, depth):
        calls.append((list(texts), depth))
        return found_second(texts, depth)

    evaluation = evaluate(search, DATASET, ["RR@10", "R@150"], batch=2, progress=done.append)
    assert calls == [(["text 0", "text 1"], 150), (["text 2", "text 3"], 150), (["text 4"], 150)]
    assert done == [2, 2, 1]
    assert evaluation.values == {"RR@10": 0.5, "R@150": 1.0}
    assert evaluation["R@150"] == 1.0
    assert evaluation.queries == 5
    assert evaluation.per_query["RR@10"] == {f"q{n}": 0.5 for n in range(5)}
    assert evaluation.run["q3"] == [("z", 1.0), ("d3", 1.0), ("other", 0.5)]
    assert str(evaluation) == "tiny/test: RR@10 0.5000, R@150 1.0000 over 5 queries"
    plain = {"name": "tiny/test", "queries": 5, "depth": 150, "values": {"RR@10": 0.5, "R@150": 1.0}}
    assert evaluation.to_dict() == plain
    assert evaluation.to_dict(per_query=True)["per_query"]["R@150"]["q0"] == 1.0
    json.dumps(evaluation.to_dict(per_query=True))


def test_a_run_on_disk_measures_the_same(tmp_path):
    evaluation = evaluate(found_second, DATASET)
    write_run(evaluation.run, tmp_path / "out.trec")
    again = evaluate_run(read_run(tmp_path / "out.trec"), DATASET.qrels, name="again")
    assert again.values == evaluation.values
    assert list(evaluation.values) == ["nDCG@10", "R@100"]
    assert again.name == "again"
    assert again.depth == 3


def test_a_search_that_finds_nothing_counts_as_zero():
    evaluation = evaluate(lambda texts, depth: [[] for _ in texts], DATASET, ["nDCG@10", "RR"])
    assert evaluation.values == {"nDCG@10": 0.0, "RR": 0.0}


def test_a_document_with_the_querys_own_id_stays_unless_asked():
    dataset = Dataset("self", {"a": "x"}, {"a": {"b": 1}})
    depths = []

    def search(texts, depth):
        depths.append(depth)
        return [[("a", 2.0), ("b", 1.0), ("c", 0.5)][:depth]]

    assert evaluate(search, dataset, ["RR"]).values == {"RR": 0.5}
    dropped = evaluate(search, dataset, ["RR"], drop_same_id=True, depth=1)
    assert dropped.values == {"RR": 1.0}
    assert dropped.run == {"a": [("b", 1.0)]}
    assert depths == [1000, 2]


def test_a_folder_is_loaded(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("q1\td1\t1\n")
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "x 1"}\n')
    assert evaluate(found_second, tmp_path, split="dev", measures=["RR"]).values == {"RR": 0.5}
    with pytest.raises(SourceError, match="the splits there are dev"):
        evaluate(found_second, str(tmp_path))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (lambda texts, depth: [], "the search gave 0 lists of hits for 5 queries"),
        (lambda texts, depth: [[("a", 1.0), ("a", 0.5)]] * len(texts), "query 'q0': document 'a' stands twice"),
        (lambda texts, depth: [[("a", float("nan"))]] * len(texts), "the score of document 'a' is NaN"),
    ],
)
def test_a_search_that_is_none(search, message):
    with pytest.raises(InputError, match=message):
        evaluate(search, DATASET)


def test_wrong_arguments_cost_no_search():
    def never(texts, depth):
        raise AssertionError

    with pytest.raises(InputError, match="did you mean nDCG@10"):
        evaluate(never, DATASET, ["ndcg@10"])
    with pytest.raises(InputError, match="depth is 0"):
        evaluate(never, DATASET, depth=0)


def test_importing_evaluation_does_not_import_ir_measures():
    program = "import sys, m3search.evaluation; print('ir_measures' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
