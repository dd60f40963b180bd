"""The encoder's benchmarks on small models; verdicts from made-up figures; what the docs show of the committed results."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import BENCHMARKS
from encode import lexical
from encode.checkpoint import Shape, checkpoint, texts
from encode.measurement import Process, latency, memory, throughput
from encode.report import report, targets
from encode.targets import lines
from sparse_memory.command import main as sparse_memory
from sparse_memory.command import table
from sparse_memory.ways import DENSE_2D, DENSE_3D, DICTS, OURS, WAYS, as_matrix, batch, bytes_of

from m3search import Encoder

SMALL = Shape(layers=1, hidden=32, heads=2, inner=64, vocabulary=900, positions=130)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("encode")


@pytest.fixture(scope="module")
def folder(cache) -> Path:
    return checkpoint(SMALL, cache)


def test_texts_have_the_length_they_were_asked_for(folder):
    encoder = Encoder.load(folder, device="cpu")
    made = texts(SMALL, np.array([2, 8, 100]), seed=1)
    assert [len(spans) + 2 for spans in encoder.token_spans(made)] == [2, 8, 100]
    assert texts(SMALL, np.array([2, 8, 100]), seed=1) == made
    assert encoder.vocab_size == SMALL.vocabulary
    assert checkpoint(SMALL, folder.parent) == folder


def test_contestants_take_turns_in_their_own_processes(folder, cache):
    lengths = np.array([5, 40, 12, 77])
    made = texts(SMALL, lengths, seed=2)
    names = ("m3search fp32", "m3search bf16", "m3search int8")
    processes = [Process(name, folder) for name in names]
    try:
        found = throughput(processes, made, int(lengths.sum()), cache, dict.fromkeys(names, 2))
        waits = latency(processes, texts(SMALL, np.full(9, 6), seed=3), cache, rounds=2)
        held = memory(processes[0], made * 30, cache)
    finally:
        for process in processes:
            process.__exit__(None, None, None)
    exact = found["m3search fp32"]
    assert exact["correlation"] == pytest.approx(1)
    assert exact["largest_difference"] == 0
    assert 0 < found["m3search bf16"]["largest_difference"] < 0.1
    assert all(row["tokens_per_second"] > 0 and row["passes"] == 2 for row in found.values())
    assert list(waits) == list(names)
    assert all(seconds > 0 for seconds in waits.values())
    assert held["seconds"] > 0
    assert held["bytes"] >= 0


def test_a_contestant_that_fails_is_said(cache):
    with pytest.raises(RuntimeError, match="m3search fp32 ended with 1"):
        Process("m3search fp32", cache / "absent")


def test_lexical_output_is_measured_alone():
    found = lexical.measure(5000, None, passes=2, seed=0)
    assert set(found["seconds"]) == {"m3search"}
    assert 1e5 < found["extra_bytes"] < 1e6


def record(shape: str, speed: float) -> dict:
    rows = {
        "FlagEmbedding": {"tokens_per_second": 10.0, "correlation": 1.0, "largest_difference": 0.0},
        "m3search fp32": {"tokens_per_second": speed, "correlation": 1.0, "largest_difference": 2.05e-5},
        "m3search bf16": {"tokens_per_second": 2 * speed, "correlation": 0.9999, "largest_difference": 1e-2},
    }
    for row in rows.values():
        row |= {"seconds": 1.0, "passes": 1, "least_cosine": 1.0}
    return {
        "date": "2026-01-01",
        "machine": {"cpu": "a processor", "cores": 2, "python": "3", "versions": {"torch": "2"}},
        "throughput": [{"shape": shape, "texts": 3, "tokens": 30, "against": "FlagEmbedding", "contestants": rows}],
        "memory": {
            "shape": "1x1024",
            "texts": 10_000,
            "tokens": 100,
            "bytes": {"m3search fp32": 26.0, "FlagEmbedding": 100.0},
            "seconds": {"m3search fp32": 1.0, "FlagEmbedding": 2.0},
        },
    }


def test_verdicts():
    found = {line.what: line.found for line in lines(record("24x1024", 19.99))}
    at = "(24x1024, 3 texts)"
    assert found[f"m3search fp32: tokens per CPU second / FlagEmbedding's {at}"] == "1.99 (missed)"
    assert found[f"m3search bf16: tokens per CPU second / FlagEmbedding's {at}"] == "3.99 (missed)"
    assert found[f"m3search fp32: largest difference from FlagEmbedding's vectors {at}"] == "0.0000205 (missed)"
    assert found[f"m3search bf16: correlation of similarities with FlagEmbedding's {at}"] == "0.99990 (reached)"
    assert found["10,000 texts of 100 tokens, all outputs: memory / FlagEmbedding's (1x1024)"] == "0.260 (missed)"
    faster = {line.found for line in lines(record("24x1024", 20.0)) if "tokens per CPU" in line.what}
    assert faster == {"2.00 (reached)", "4.00 (reached)"}
    assert "not its shape" in lines(record("2x64", 20.0))[0].found
    assert "| m3search bf16 | 40 | 4.00 | 0.999900 |" in report(record("24x1024", 20.0))


def test_four_ways_give_the_same_weights():
    weights, ids = batch(3, 60, 400, seed=5)
    matrices = {name: as_matrix(way(weights, ids, 400), 400) for name, way in WAYS.items()}
    assert matrices[OURS].nnz > 50
    assert not set(matrices[OURS].indices) & {0, 1, 2, 3}
    for matrix in matrices.values():
        np.testing.assert_array_equal(matrix.toarray(), matrices[DICTS].toarray())


def test_sizes_that_are_computed():
    assert bytes_of(DENSE_3D, 10, 512, 250_002) == 5_120_040_960
    assert bytes_of(DENSE_2D, 10, 512, 250_002) == 10_000_080
    assert bytes_of(OURS, 10, 512, 250_002) is None


def test_what_does_not_fit_is_computed_and_marked(tmp_path):
    # 5,000 ids: 102 MB at 10 x 512; the limit lets through what takes up to 60% of it
    sparse_memory(
        ["--quick", "--batches", "2", "--passes", "1", "--limit", "200000000", "--out", str(tmp_path / "sparse")]
    )
    found = json.loads((tmp_path / "sparse.json").read_text())
    first, second = found["batches"]
    assert not first["ways"][DENSE_3D]["computed"]
    assert 80e6 < first["ways"][DENSE_3D]["bytes"] < 200e6
    assert first["equal"] == sorted(WAYS)
    assert second["ways"][DENSE_3D] == {"bytes": 4 * 32 * 512 * 5000, "seconds": None, "computed": True}
    assert second["ways"][OURS]["bytes"] < 5e6
    assert "327.7 MB (computed)" in (tmp_path / "sparse.md").read_text()
    names = [element.text for element in ET.parse(tmp_path / "sparse.svg").iter() if element.text]
    assert {"32 texts x 512 tokens", "327.7 MB (computed)"} <= set(names)


@pytest.mark.parametrize("script", ["encode", "sparse_memory"])
def test_help(script):
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{script}.py"), "--help"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "--out" in run.stdout


def test_without_a_gpu_it_says_so_and_the_script_runs_on_a_cpu(tmp_path):
    import torch

    script = [sys.executable, str(BENCHMARKS / "gpu_encode.py"), "--quick", "--cache", str(tmp_path)]
    if not torch.cuda.is_available():
        run = subprocess.run([*script, "--out", str(tmp_path / "gpu")], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
        assert "there is no GPU here" in run.stdout
        assert not (tmp_path / "gpu.md").exists()
    out = tmp_path / "cpu"
    arguments = ["--device", "cpu", "--dtypes", "fp32", "--passes", "1", "--out", str(out)]
    run = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "| m3search fp32 | 8,192 |" in out.with_suffix(".md").read_text()


RESULTS = BENCHMARKS / "results"


def test_the_docs_show_the_committed_table():
    committed = json.loads((RESULTS / "sparse-memory.json").read_text())
    chapter = (BENCHMARKS.parent / "docs" / "sparse-memory.md").read_text()
    assert table(committed).strip() in chapter
    assert "sparse-memory.svg" in chapter


def test_the_docs_show_the_committed_figures():
    committed = json.loads((RESULTS / "encode.json").read_text())
    assert targets(committed).strip() in (BENCHMARKS.parent / "docs" / "encoder.md").read_text()
    assert (RESULTS / "encode.md").read_text() == report(committed)
