"""The dense benchmark in its quick mode, without the peers that are not dependencies; and verdicts from made-up figures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BENCHMARKS
from dense.collection import K, collection
from dense.targets import latency, lines
from dense.vectors import BLOCK, DIM, GeneratedVectors

COUNT = 3000


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, str(BENCHMARKS / "dense.py"), "--quick", "--sizes", str(COUNT), "--no-plot"]
    command += ["--cache", str(folder / "cache"), "--out", str(folder / "results" / "dense"), "--also", "hnsw:M=8"]
    for _ in range(2):  # the second time takes the indexes that the first has built
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    assert "building" not in done.stderr
    assert (folder / "results" / "dense.md").read_text() == done.stdout.removesuffix("\n")
    return folder / "results"


def test_everything_is_found_and_timed(results: Path) -> None:
    (found,) = json.loads((results / "dense.json").read_text())["collections"]
    engines = found["engines"]
    assert found["passages"] == COUNT
    assert list(engines) == ["flat", "m3search hnsw", "m3search ivf", "m3search hnsw, M=8"]
    for row in engines.values():
        for one in row["efforts"].values():
            assert 0 < one["recall"] <= 1
            assert 0 < one["median_ms"] <= one["p95_ms"]
    assert [one["recall"] for one in engines["flat"]["efforts"].values()] == [1.0]
    assert engines["flat"]["bytes"] == COUNT * DIM * 4
    for name in ("m3search hnsw", "m3search ivf"):
        assert max(one["recall"] for one in engines[name]["efforts"].values()) > 0.98
        assert 0.2 < engines[name]["bytes"] / engines["flat"]["bytes"] < 0.5
        assert engines[name]["notes"]["recall@100"] >= 0.95
    assert engines["m3search hnsw, M=8"]["notes"]["M"] == 8


def test_the_tables_are_well_formed(results: Path) -> None:
    text = (results / "dense.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1, table
    targets = tables[0]
    assert "not its size" in targets[2]
    assert "missed" not in text


def test_the_same_seed_gives_the_same_vectors_whatever_their_number() -> None:
    many = list(GeneratedVectors(3).blocks(BLOCK + 500))
    few = list(GeneratedVectors(3).blocks(700))
    assert [len(block) for block in many] == [BLOCK, 500]
    assert np.array_equal(few[0], many[0][:700])
    assert np.array_equal(GeneratedVectors(3).queries(9), GeneratedVectors(3).queries(9))
    assert not np.array_equal(GeneratedVectors(4).queries(9), GeneratedVectors(3).queries(9))
    assert np.linalg.norm(many[1], axis=1) == pytest.approx(1, abs=1e-5)


def test_the_truth_is_that_of_every_vector(tmp_path: Path) -> None:
    made = collection(tmp_path, 21_000, 5)  # more than are looked at together
    scores = made.queries.astype(np.float64) @ made.vectors.astype(np.float64).T
    assert np.array_equal(made.truth, np.argsort(-scores, axis=1)[:, :K])
    assert made.recall(made.truth) == 1
    assert made.recall(made.truth[:, ::-1][:, :5]) == 0.5


def row(*points: tuple[float, float], size: int = 1) -> dict[str, object]:
    efforts = {str(number): {"recall": recall, "median_ms": ms} for number, (recall, ms) in enumerate(points)}
    return {"efforts": efforts, "bytes": size}


def test_latency_at_a_recall_lies_on_the_line_through_what_is_fastest() -> None:
    points = row((0.8, 1.0), (0.9, 2.0), (0.92, 9.0), (0.96, 4.0), (0.99, 8.0))
    assert latency(points, 0.9) == pytest.approx(2)
    assert latency(points, 0.96) == pytest.approx(4)
    assert 2 < latency(points, 0.93) < 4, "what finds less for a longer time is passed over"
    assert latency(points, 0.5) == 1
    assert latency(points, 0.995) is None


def test_verdicts_are_given_at_the_asked_size() -> None:
    engines = {
        "flat": row((1.0, 60.0), size=4),
        "m3search hnsw": row((0.9, 0.2), (0.95, 0.4), (0.98, 1.0), size=39),
        "m3search ivf": row((0.9, 4.0), (0.94, 5.0)),
        "hnswlib M=16": row((0.9, 0.2), (0.95, 0.3), (0.98, 0.5), size=100),
    }
    collections = [{"passages": passages, "engines": engines} for passages in (100_000, 1_000_000)]
    found = {line.what: line.found for line in lines(collections)}
    beside = "m3search hnsw / hnswlib M=16, {} vectors: {}"
    assert found == {
        "m3search hnsw, 100,000 vectors, recall@10 0.95: times faster than flat": "150.0 (not its size)",
        "m3search ivf, 100,000 vectors, recall@10 0.95: times faster than flat": "0.0 (not its size)",
        beside.format("100,000", "time, recall@10 0.9"): "1.00 (reached)",
        beside.format("100,000", "time, recall@10 0.95"): "1.33 (missed)",
        beside.format("100,000", "time, recall@10 0.98"): "2.00 (missed)",
        beside.format("100,000", "index memory"): "0.39 (reached)",
        "m3search hnsw, 1,000,000 vectors, recall@10 0.95: times faster than flat": "150.0 (reached)",
        "m3search ivf, 1,000,000 vectors, recall@10 0.95: times faster than flat": "0.0 (missed)",
        beside.format("1,000,000", "time, recall@10 0.9"): "1.00 (not its size)",
        beside.format("1,000,000", "time, recall@10 0.95"): "1.33 (not its size)",
        beside.format("1,000,000", "time, recall@10 0.98"): "2.00 (not its size)",
        beside.format("1,000,000", "index memory"): "0.39 (not its size)",
    }
