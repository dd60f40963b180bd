"""Whole trainings of a tiny model: what is learned, frozen, saved, resumed, measured."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from m3search import Encoder
from m3search.errors import InputError, ResumeError
from m3search.training import Training, fit
from m3search.training.losses import Losses

CHECKPOINT_FILES = {"config.json", "model.safetensors", "tokenizer.json", "m3search.json"}
HEAD_FILES = {f"{name}{suffix}" for name in ("sparse_linear", "colbert_linear") for suffix in (".pt", ".safetensors")}
QUICK = Training(epochs=2, batch=4, learning_rate=1e-3, device="cpu", log_every=1, seed=3)


def states(folder):
    found = load_file(folder / "model.safetensors")
    for name in ("sparse_linear", "colbert_linear"):
        found |= {f"{name}.{key}": value for key, value in load_file(folder / f"{name}.safetensors").items()}
    return found


@pytest.fixture(scope="module")
def start(checkpoint):
    """What the tiny model has before it learns."""
    found = {name: tensor.float() for name, tensor in load_file(checkpoint.folder / "model.safetensors").items()}
    for name in ("sparse_linear", "colbert_linear"):
        state = torch.load(checkpoint.folder / f"{name}.pt", weights_only=True)
        found |= {f"{name}.{key}": value.float() for key, value in state.items()}
    return found


def test_it_learns_and_saves_an_m3_folder(examples, checkpoint, tmp_path):
    trained = fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK, epochs=20, learning_rate=3e-3)
    assert trained.steps == 40
    losses = [row["loss"] for row in trained.history if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert {path.name for path in (tmp_path / "out").iterdir()} >= CHECKPOINT_FILES | HEAD_FILES
    encoder = Encoder.load(tmp_path / "out", device="cpu")
    queries, passages = zip(
        *((json.loads(line)["query"], json.loads(line)["pos"][0]) for line in examples.read_text().splitlines()),
        strict=True,
    )
    best = (encoder.encode(list(queries), query=True).dense @ encoder.encode(list(passages)).dense.T).argmax(axis=1)
    assert (best == np.arange(8)).mean() > 0.5  # by chance an eighth
    for name in ("sparse_linear", "colbert_linear"):
        state = torch.load(tmp_path / "out" / f"{name}.pt", weights_only=True)
        other = load_file(tmp_path / "out" / f"{name}.safetensors")
        assert set(state) == {"weight", "bias"}
        assert all(torch.equal(state[key], other[key]) for key in state)


@pytest.mark.parametrize("heads", [("lexical",), ("colbert",), ("lexical", "colbert")])
def test_only_what_is_asked_for_learns(examples, checkpoint, tmp_path, start, heads):
    fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK, heads_only=heads)
    after = states(tmp_path / "out")
    changed = {name for name, value in after.items() if not torch.equal(value, start[name])}
    parts = {"lexical": "sparse_linear", "colbert": "colbert_linear"}
    assert {name.split(".")[0] for name in changed} == {parts[head] for head in heads}


def test_a_new_head_may_be_narrower(examples, checkpoint, tmp_path):
    fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK, new_heads=("colbert",), colbert_dim=16)
    assert Encoder.load(tmp_path / "out", device="cpu").identity.colbert_dim == 16
    with pytest.raises(InputError, match="begin it anew"):
        fit(examples, tmp_path / "other", model=checkpoint.folder, training=QUICK, colbert_dim=16)


@pytest.mark.parametrize(
    "changes",
    [{"piece": 3}, {"accumulate": 2}, {"checkpointing": True}, {"precision": "bf16"}, {"group": 3, "teacher": True}],
    ids=str,
)
def test_ways_to_train(examples, checkpoint, tmp_path, start, changes):
    trained = fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK, **changes)
    assert trained.steps == (2 if "accumulate" in changes else 4)
    assert np.isfinite(trained.loss)
    after = states(tmp_path / "out")
    assert sum(not torch.equal(after[name], value) for name, value in start.items()) > 30


def test_a_training_leaves_its_precision_to_no_other(examples, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # as somebody else may have set it
    fit(examples, tmp_path / "first", model=checkpoint.folder, training=QUICK)
    fit(examples, tmp_path / "half", model=checkpoint.folder, training=QUICK, precision="bf16")
    fit(examples, tmp_path / "again", model=checkpoint.folder, training=QUICK)
    first, again = states(tmp_path / "first"), states(tmp_path / "again")
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "no"


def test_without_dropout_pieces_change_nothing(examples, checkpoint, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    whole = fit(examples, tmp_path / "whole", model=folder, training=QUICK)
    pieces = fit(examples, tmp_path / "pieces", model=folder, training=QUICK, piece=3)
    for one, other in zip(whole.history, pieces.history, strict=True):
        for name in {"loss", "dense", "lexical", "colbert", "ensemble", "distil", "grad_norm"} & set(one):
            assert other[name] == pytest.approx(one[name], rel=1e-3)


def test_it_goes_on_as_if_it_had_not_stopped(examples, checkpoint, tmp_path):
    settings = {"model": checkpoint.folder, "training": QUICK, "epochs": 4, "save_every": 3}
    whole = fit(examples, tmp_path / "whole", **settings)
    fit(examples, tmp_path / "again", **settings)
    work = tmp_path / "again" / "training"
    shutil.rmtree(work / "checkpoint-6")
    # as a kill in the second epoch leaves it
    for path in (tmp_path / "again").iterdir():
        if path.is_file():
            path.unlink()
    resumed = fit(examples, tmp_path / "again", resume=True, **settings)
    assert resumed.steps == whole.steps == 8
    theirs = states(tmp_path / "whole")
    for name, value in states(tmp_path / "again").items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=1e-6)
    rows = list(csv.DictReader((work / "losses.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, 9))
    with pytest.raises(ResumeError, match="batch was 4 and is 2"):
        fit(examples, tmp_path / "again", resume=True, **settings | {"batch": 2})
    with pytest.raises(InputError, match="is not empty"):
        fit(examples, tmp_path / "again", **settings)


def test_curves(examples, checkpoint, tmp_path):
    fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK)
    work = tmp_path / "out" / "training"
    rows = list(csv.DictReader((work / "losses.csv").read_text().splitlines()))
    assert len(rows) == 4
    for name in ("loss", "learning_rate", "grad_norm", "dense", "lexical", "colbert", "ensemble", "distil"):
        assert all(float(row[name]) >= 0 for row in rows)
    assert "<svg" in (work / "losses.svg").read_text()


def test_it_measures_while_it_trains(examples, checkpoint, tmp_path):
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    records = [json.loads(line) for line in examples.read_text().splitlines()]
    (beir / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{n}", "text": one["pos"][0]}) + "\n" for n, one in enumerate(records))
    )
    (beir / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": one["query"]}) + "\n" for n, one in enumerate(records))
    )
    (beir / "qrels" / "dev.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(len(records))))
    trained = fit(
        examples,
        tmp_path / "out",
        model=checkpoint.folder,
        training=QUICK,
        epochs=10,
        learning_rate=3e-3,
        evaluate=str(beir),
        evaluate_every=10,
    )
    measured = [row for row in trained.history if "eval dense" in row]
    assert [row["step"] for row in measured] == [10, 20]
    assert set(trained.values) == {"dense", "lexical", "dense + lexical", "dense + lexical + colbert"}
    assert measured[1]["eval dense"] == trained.values["dense"] > 0.6
    assert "eval dense" in (tmp_path / "out" / "training" / "losses.csv").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"precision": "fp8"}, "no precision 'fp8': fp32, bf16, fp16"),
        ({"precision": "fp16"}, '"fp16" needs CUDA'),
        ({"heads_only": ("sparse",)}, "no head 'sparse': the heads are lexical and colbert"),
        ({"heads_only": ()}, "names no head"),
        ({"learning_rate": -1}, "above 0"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_settings_that_cannot_be(examples, checkpoint, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK, **changes)


def test_heads_that_no_loss_weighs(examples, checkpoint, tmp_path):
    losses = Losses(lexical=0, colbert=0, ensemble=0, distil=False)
    with pytest.raises(InputError, match="no loss weighs them"):
        fit(examples, tmp_path / "out", model=checkpoint.folder, training=QUICK, losses=losses, heads_only=("lexical",))


def test_without_accelerate_the_error_names_the_extra(examples, tmp_path):
    code = f"""
import sys
sys.modules["accelerate"] = None
from m3search.training import fit
fit({str(examples)!r}, {str(tmp_path / "out")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "training needs the package 'accelerate', which is not installed: pip install 'm3search[train]'" in done.stderr
    )
