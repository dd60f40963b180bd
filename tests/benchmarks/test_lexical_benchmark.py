"""The whole benchmark in its quick mode, without the peers that are not dependencies; and verdicts from made-up figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import BENCHMARKS
from lexical.report import report
from lexical.targets import lines

KS = ("10", "100", "1000")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    command = [
        sys.executable,
        str(BENCHMARKS / "lexical.py"),
        "--quick",
        "--engines",
        "m3search",
        "scipy term rows",
        "bm25s",
    ]
    command += ["--no-plot", "--cache", str(folder / "cache"), "--out", str(folder / "results" / "lexical")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "results" / "lexical.md").read_text() == done.stdout.removesuffix("\n")
    return folder / "results"


def test_everything_is_found_and_timed(results: Path) -> None:
    record = json.loads((results / "lexical.json").read_text())
    (collection,) = record["collections"].values()
    assert collection["about"]["documents"] == 20_000
    rows = ["scipy term rows", "scipy term rows, tuned"]
    assert list(collection["engines"]) == ["m3search", "m3search, Index.search", *rows]
    for row in collection["engines"].values():
        assert tuple(row["k"]) == KS
        assert ("duel" in row) == (row["peer"] != "m3search")
        for figures in row["k"].values():
            assert figures["recall"] == 1
            assert figures["score_error"] < 1e-9
            assert 0 < figures["median_ms"] <= figures["p95_ms"]
        assert row["bytes"] > collection["postings"]
        assert row["build_postings_per_second"] > 0
    ours = collection["engines"]["m3search"]
    assert 0 < ours["structure_bytes"] < ours["bytes"]
    assert ours["notes"]["segments"] == 1
    assert ours["build_without_documents_postings_per_second"] > ours["build_postings_per_second"]
    assert collection["missing"] == {"bm25s": "cannot weigh query terms"}
    assert 0 < collection["opening"]["open_ms"] < 5000


def test_the_tables_are_well_formed(results: Path) -> None:
    text = (results / "lexical.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        widths = {line.count("|") for line in table}
        assert len(widths) == 1, table
        assert set(table[1]) <= set("|-:")
    targets, engines, ratios, duels = tables
    assert any(line.startswith("| scipy term rows, 20,000 generated documents") for line in targets)
    assert [line.split(" | ")[0].strip("| ") for line in engines[2:]] == [
        "m3search",
        "m3search, Index.search",
        "scipy term rows",
        "scipy term rows, tuned",
        "bm25s",
    ]
    assert "1.0000, 1.0000, 1.0000" in engines[2]
    assert "cannot weigh query terms" in engines[-1]
    assert len(ratios) == 5
    assert [line.split(" | ")[0].strip("| ") for line in duels[2:]] == ["scipy term rows", "scipy term rows, tuned"]


def _results(documents: int, kind: str, **milliseconds: float) -> dict[str, Any]:
    """Made-up results: every engine takes as long for every k."""
    figures = {
        name: {
            "k": {k: {"median_ms": value, "mean_ms": 2 * value, "recall": 1.0} for k in KS},
            "bytes": 8 * documents,
            "structure_bytes": 3 * documents if name == "m3search" else None,
            "build_postings_per_second": 1e6,
            "build_without_documents_postings_per_second": 6e6,
        }
        for name, value in milliseconds.items()
    }
    about = {"kind": kind, "title": f"{documents:,} {kind}", "documents": documents}
    return {"about": about, "postings": documents, "engines": figures, "missing": {}, "growth": False}


def test_verdicts_are_given_at_the_asked_size() -> None:
    collections = {
        "small": _results(100_000, "generated", m3search=1, **{"impact-index": 7}),
        "large": _results(1_000_000, "generated", m3search=1, **{"impact-index": 7}),
        "texts": _results(950_000, "texts", m3search=1, **{"impact-index": 2}),
        "growth": _results(5_000_000, "generated", m3search=4.5),
    }
    collections["growth"]["growth"] = True
    alone = {"its": {"median_ms": 4.5, "mean_ms": 0}, "ours": {"median_ms": 0.5, "mean_ms": 0}}
    collections["large"]["engines"]["impact-index"]["duel"] = dict.fromkeys(KS, alone)
    collections["large"]["opening"] = {"open_ms": 60.0, "first_ms": 400.0, "second_ms": 1.0}
    found = {line.what: line.found for line in lines(collections)}
    assert found == {
        "impact-index, 1,000,000 generated, median, the two alone: its time / ours": (
            "9.00 (reached) / 9.00 (reached) / 9.00 (reached)"
        ),
        "impact-index, 1,000,000 generated, median, among all: its time / ours": (
            "7.00 (reached) / 7.00 (missed) / 7.00 (reached)"
        ),
        "impact-index, 950,000 texts, mean, among all: its time / ours": (
            "2.00 (missed) / 2.00 (missed) / 2.00 (missed)"
        ),
        "growth, median: our time at 5,000,000 / at 1,000,000": "4.50 (reached) / 4.50 (missed) / 4.50 (missed)",
        "recall, ours, the worst of all collections": "1.000000 (reached)",
        "bytes a posting, without the forward store, 1,000,000 generated": "3.00 (reached)",
        "postings a second at build, documents aside, 1,000,000 generated": "6,000,000 (reached)",
        "opening, ms, 1,000,000 generated": "60.0 (missed)",
        "first query less second, fresh process, ms, 1,000,000 generated": "399.0 (reached)",
    }
    del collections["large"], collections["growth"], collections["texts"]
    assert all("not its size" in line.found for line in lines(collections) if "recall" not in line.what)


def test_what_is_not_known_is_a_dash_in_the_table() -> None:
    made = _results(1_000_000, "generated", m3search=1, bmp=2)
    made["engines"]["bmp"]["bytes"] = None
    for row in made["engines"].values():
        row |= {"peer": "some", "version": "1"}
    made |= {"terms": 5, "queries": 3, "query_terms": 9.0, "missing": {"seismic": "not installed"}}
    record = {
        "machine": {"cpu": "a", "cores": 2, "python": "3"},
        "plan": {"passes": 2},
        "date": "today",
        "collections": {"one": made},
    }
    text = report(record, [])
    assert "## Targets" not in text
    times = "2.000 / 4.000 | 2.000 / 4.000 | 2.000 / 4.000"
    assert f"| bmp | {times} | 1.0000, 1.0000, 1.0000 | - | - | - |" in text
    assert "| seismic | not installed |  |  |  |  |  |  |" in text
    assert "| bmp | 2.00, 2.00 | 2.00, 2.00 | 2.00, 2.00 |" in text


def test_a_recall_below_one_is_missed_however_little() -> None:
    collections = {"one": _results(1_000_000, "generated", m3search=1)}
    collections["one"]["engines"]["m3search"]["k"]["100"]["recall"] = 0.9999999
    found = {line.what: line.found for line in lines(collections)}
    assert found["recall, ours, the worst of all collections"].endswith("(missed)")
