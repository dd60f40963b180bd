"""Files of examples, and the batches made of them."""

import json

import pytest
import torch

from m3search.errors import InputError, SourceError
from m3search.training import Example, read_examples, read_sets, write_examples
from m3search.training.batches import Batches
from m3search.training.fit import Training
from m3search.training.loop import collator


def test_what_is_written_is_read(tmp_path):
    examples = [Example("q", ("a", "b"), ("c",), (1.0, 2.0), (0.5,)), Example("ü\u2028", ("a",))]
    assert write_examples(examples, tmp_path / "x.jsonl") == 2
    assert list(read_examples(tmp_path / "x.jsonl")) == examples


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "a"', "x.jsonl:2: broken JSON"),
        ('{"pos": ["a"]}', ':2: there is no "query"'),
        ('{"query": "a", "pos": []}', '"pos" is empty'),
        ('{"query": "a", "pos": "b"}', '"pos" is no list of strings'),
        ('{"query": "a", "pos": ["b"], "pos_scores": [1, 2]}', '"pos_scores" must be 1 finite'),
        ('{"query": "a", "pos": ["b"], "neg": ["c"], "pos_scores": [1]}', '"neg_scores" must be 1 finite'),
        ('{"query": "a", "pos": ["b"], "pos_scores": [NaN]}', "finite numbers"),
    ],
)
def test_lines_that_are_no_examples(tmp_path, line, message):
    path = tmp_path / "x.jsonl"
    path.write_text('{"query": "a", "pos": ["b"]}\n' + line + "\n")
    with pytest.raises(SourceError, match=message):
        list(read_examples(path))


def test_folders_and_files_without_anything(tmp_path):
    with pytest.raises(SourceError, match=r"no \.jsonl files"):
        read_sets([tmp_path])
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(SourceError, match=r"empty\.jsonl: there are no examples"):
        read_sets([tmp_path])
    with pytest.raises(SourceError, match="cannot be read"):
        read_sets([tmp_path / "absent.jsonl"])


@pytest.fixture
def two_sets(tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    for name, count in (("a", 7), ("b_no_in_batch_neg", 5)):
        records = [
            {"query": f"{name}{n}", "pos": [f"{name}{n}+"], "neg": [f"{name}{n}-1", f"{name}{n}-2"]}
            for n in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return read_sets([folder])


def test_a_batch_has_examples_of_one_set(two_sets):
    batches = Batches(two_sets, size=3, group=2, teacher=False, seed=1)
    seen = []
    for place in range(len(batches)):
        batch = batches[place]
        assert len({query[0] for query in batch.queries}) == 1
        assert batch.in_batch == (batch.queries[0][0] == "a")
        for query, group in zip(batch.queries, batch.passages, strict=True):
            assert group[0] == f"{query}+"
            assert group[1] in {f"{query}-1", f"{query}-2"}
        seen += batch.queries
    assert len(seen) == len(set(seen)) == 12


def test_an_epoch_follows_from_its_seed(two_sets):
    def order(seed, epoch):
        batches = Batches(two_sets, size=3, group=3, teacher=False, seed=seed)
        batches.set_epoch(epoch)
        return [(batches[place].queries, batches[place].passages) for place in range(len(batches))]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_few_negatives_come_again(two_sets):
    batch = Batches(two_sets, size=3, group=6, teacher=False, seed=1)[0]
    assert all(len(group) == 6 and len(set(group)) == 3 for group in batch.passages)


def test_what_a_set_lacks(tmp_path):
    (tmp_path / "bare.jsonl").write_text('{"query": "a", "pos": ["b"]}\n' * 3)
    (tmp_path / "x_no_in_batch_neg.jsonl").write_text('{"query": "a", "pos": ["b"], "neg": ["c"]}\n' * 3)
    bare, alone = read_sets([tmp_path])
    with pytest.raises(InputError, match=r"'bare' has examples without negatives.*m3search mine"):
        Batches([bare], size=2, group=2, teacher=False, seed=0)
    with pytest.raises(InputError, match="without scores"):
        Batches([bare], size=2, group=1, teacher=True, seed=0)
    with pytest.raises(InputError, match="ask for 2 or more"):
        Batches([alone], size=2, group=1, teacher=False, seed=0)


def test_the_same_passage_is_marked(tmp_path, checkpoint):
    lines = [{"query": "a zip", "pos": ["the file", "an archive"]}, {"query": "a file", "pos": ["the file"]}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch = Batches(read_sets([tmp_path]), size=2, group=1, teacher=False, seed=0)[0]
    inputs = collator(checkpoint, Training())([batch])
    row = batch.queries.index("a zip")
    assert inputs["same"][row, 1 - row]
    assert inputs["same"].sum() == 1 + (batch.passages[row] == ["the file"])
    kept = inputs["queries"]["kept"]
    # the opening token is not kept, the closing one is and carries no word
    assert not kept[:, 0].any()
    assert torch.equal(kept.sum(1) - 1, inputs["queries"]["words"].sum(1))
