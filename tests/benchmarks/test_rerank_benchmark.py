"""The rerank's benchmark on few vectors; verdicts from made-up figures; what the docs show of the committed results."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BENCHMARKS
from rerank.contestants import EINSUM, NAMES, NUMPY, SIGNS, TWO_STAGES
from rerank.costs import costs
from rerank.measurement import Plan, measure
from rerank.report import disk, glance, ndcg, report
from rerank.targets import lines
from rerank.workload import Shape, Workload, generated

SMALL = Shape(documents=60, tokens=7, dim=32, queries=3, query_tokens=4, candidates=50)


def test_every_contestant_is_timed_and_orders_as_fp32_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    few = generated(SMALL)
    # documents that hold the query's tokens, more and more turned away: an order that rounding does not change
    turned = [
        few.queries[0] + np.float32(turn) * rng.normal(size=few.queries[0].shape).astype(np.float32)
        for turn in np.linspace(0, 0.7, 60)
    ]
    documents = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in turned]
    workload = Workload("turned", "turned", documents, few.queries[:1], [np.arange(60)])
    result = measure(workload, Plan(passes=1), tmp_path)
    found = result["contestants"]
    assert list(found) == list(NAMES)
    for name in (EINSUM, NUMPY, "bf16", "int8", TWO_STAGES):
        assert found[name]["overlap@10"] >= 0.9, name
    assert found[EINSUM]["overlap@10"] == 1
    assert all(row["median_ms"] > 0 for row in found.values())
    assert result["bytes"]["int8"] < result["bytes"]["int8+bits"] < result["bytes"]["bf16"]


def test_the_script_writes_what_it_measures(tmp_path: Path) -> None:
    command = [
        sys.executable, str(BENCHMARKS / "rerank.py"), "--quick", "--passes", "1",
        "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "rerank"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    record = json.loads((tmp_path / "rerank.json").read_text())
    assert list(record["workloads"]) == ["generated"]
    written = (tmp_path / "rerank.md").read_text()
    assert report(record) == written
    assert "int8: bytes a token / fp16's, files as they are, the worst | <= 0.51 | 0.5021 (reached)" in written


def made_up(**changes: Any) -> dict[str, Any]:
    """A record of two workloads in which every target is just reached."""
    times = {EINSUM: 40.0, "int8": 10.0, TWO_STAGES: 5.0, SIGNS: 1.0}
    shape = {"dim": 1024, "candidates": 200.0, "candidate_tokens": 16000.0, "query_tokens": 32.0, "tokens": 1000}
    sizes = {"int8": 0.51 * 2048 * 1000, "int8+bits": 0.58 * 2048 * 1000}
    rows = {name: {"median_ms": time, "mean_ms": time, "overlap@10": 0.99} for name, time in times.items()}
    one = {**shape, "bytes": sizes, "contestants": rows}
    return {"workloads": {"generated": {**one, **changes}, "texts": {**one, "dim": 1024}}}


def verdicts(record: dict[str, Any]) -> list[str]:
    return [re.search(r"\((.*)\)", line.found).group(1) for line in lines(record)]


def test_a_target_is_reached_at_its_limit() -> None:
    assert verdicts(made_up()) == ["reached"] * 6
    assert [line.found.split()[0] for line in lines(made_up())] == [
        "4.00",
        "8.00",
        "0.9900",
        "0.9900",
        "0.5100",
        "0.5800",
    ]


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [("int8", {"median_ms": 10.01}, 0), (TWO_STAGES, {"median_ms": 5.01}, 1)],
)
def test_a_target_is_missed_beyond_it(name: str, value: dict[str, float], place: int) -> None:
    record = made_up()
    record["workloads"]["generated"]["contestants"][name] |= value
    assert verdicts(record)[place] == "missed"
    assert verdicts(record).count("missed") == 1


def test_the_worst_collection_counts() -> None:
    record = made_up()
    worse = json.loads(json.dumps(record["workloads"]["texts"]))
    worse["contestants"]["int8"]["overlap@10"] = 0.98999
    worse["bytes"]["int8+bits"] *= 1.0001
    record["workloads"]["other"] = worse
    assert verdicts(record) == ["reached", "reached", "missed", "reached", "reached", "missed"]
    assert [line.found.split()[0] for line in lines(record)][2:] == ["0.9899", "0.9900", "0.5100", "0.5801"]


def test_no_verdict_on_speed_at_another_shape() -> None:
    assert verdicts(made_up(candidate_tokens=8000.0))[:2] == ["not its shape"] * 2


def test_what_a_million_documents_take() -> None:
    found = costs()["BGE-M3"]
    assert found["int8"] == 1_000_000 * (100 * 1028 + 8)
    assert found["int8+bits"] == 1_000_000 * (100 * 1156 + 8)
    assert found["bf16"] == 1_000_000 * (100 * 2048 + 8)
    assert costs()["mini"]["int8"] == 1_000_000 * (100 * 388 + 8)


def test_the_docs_show_the_committed_results() -> None:
    results = BENCHMARKS / "results"
    record = json.loads((results / "rerank.json").read_text())
    assert (results / "rerank.md").read_text() == report(record)
    page = (BENCHMARKS.parent / "docs" / "colbert.md").read_text()
    for name, made in (("glance", glance), ("disk", disk), ("ndcg", ndcg)):
        shown = re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- end -->", page, re.DOTALL)
        assert shown is not None, name
        assert shown.group(1) == made(record), name


def test_the_committed_results_reach_every_target() -> None:
    record = json.loads((BENCHMARKS / "results" / "rerank.json").read_text())
    assert [line.what for line in lines(record) if "(reached)" not in line.found] == []
    assert set(record["workloads"]) == {"generated", "cranfield", "cisi", "cacm", "scifact"}
