"""The live benchmark on few documents; its verdict from made-up figures; the docs say what the committed results say."""

import json
import re
import subprocess
import sys
from pathlib import Path

from conftest import BENCHMARKS
from live.report import report, searches_table, verdict

RESULTS = BENCHMARKS / "results" / "live.json"
DOCS = BENCHMARKS.parent / "docs" / "live.md"


def test_it_measures_commits_searches_and_a_follower(tmp_path: Path) -> None:
    arguments = ["--documents", "1500", "--dim", "8", "--queries", "3", "--passes", "1", "--rounds", "2"]
    command = [
        sys.executable,
        str(BENCHMARKS / "live.py"),
        *arguments,
        "--out",
        str(tmp_path / "live"),
        "--scratch",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "live.json").read_text())
    assert list(record["searches"]) == ["one segment", "20 segments", "10% deleted", "30% deleted"]
    assert [one["segments"] for one in record["searches"].values()] == [1, 20, 1, 1]
    deleted = [one["deleted"] for one in record["searches"].values()]
    assert deleted == [0, 0, 167, 643]
    assert {"add 1", "add 10", "add 100", "delete 1", "delete 100", "merge", "compact"} <= record["changes"].keys()
    assert all(one["ms"] > 0 for one in record["changes"].values() if "ms" in one)
    assert record["following"]["times"] == 2
    assert record["following"]["first_search_ms"] > 0
    assert (tmp_path / "live.md").read_text() == report(record)
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == []


def test_what_takes_more_than_twice_one_segment_is_said() -> None:
    searches = {
        "one segment": {"ms": {"dense": 1.0, "BM25": 0.5}},
        "20 segments": {"ms": {"dense": 1.9, "BM25": 1.2}},
    }
    assert verdict({"searches": searches}) == "At most 2 times one merged segment: missed: 20 segments, BM25: 2.40x.\n"
    searches["20 segments"]["ms"]["BM25"] = 1.0
    assert verdict({"searches": searches}) == "At most 2 times one merged segment: met.\n"


def test_the_docs_show_the_committed_results() -> None:
    record = json.loads(RESULTS.read_text())
    text = DOCS.read_text()
    assert searches_table(record).strip() in text
    for size in ("1", "10", "100", "1,000"):
        assert re.search(rf"\| add {size} \|", text), size
    assert RESULTS.with_suffix(".md").read_text() == report(record)
