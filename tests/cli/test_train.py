"""``m3search mine`` and ``m3search train``, one after the other."""

import json
from pathlib import Path

from m3search import Encoder

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"


def test_negatives_are_mined_and_a_model_is_trained(m3search, built, collection, tmp_path):
    mined = m3search(
        "mine", built, collection, "--split", "test", "--output", tmp_path / "mined.jsonl", "--scores", "--json"
    )
    assert mined.code == 0, mined.err
    assert mined.json["examples"] == 2
    examples = [json.loads(line) for line in (tmp_path / "mined.jsonl").read_text().splitlines()]
    assert {example["query"] for example in examples} == {"zip archives", "threads"}
    for example in examples:
        assert min(example["pos_scores"]) > max(example["neg_scores"])
    trained = m3search(
        *("train", tmp_path / "mined.jsonl", "--model", CHECKPOINT, "--output", tmp_path / "model"),
        *("--heads-only", "lexical,colbert", "--group", "2", "--teacher", "kl", "--epochs", "2", "--device", "cpu"),
        *("--evaluate", collection, "--split", "test", "--json"),
    )
    assert trained.code == 0, trained.err
    assert trained.json["steps"] == 2
    assert set(trained.json["values"]) == {"dense", "lexical", "dense + lexical", "dense + lexical + colbert"}
    assert Encoder.load(tmp_path / "model", device="cpu").dim == 64
    again = m3search("train", tmp_path / "mined.jsonl", "--model", CHECKPOINT, "--output", tmp_path / "model")
    assert again.code == 1
    assert "is not empty" in again.err


def test_positives_that_are_nowhere(m3search, built, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"query": "a", "pos": ["not in the index"]}\n')
    result = m3search("mine", built, tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")
    assert result.code == 0
    assert "1 queries have no positive in" in result.err
