"""The benchmark of filters on few documents: what it writes is what it measured, and every answer is that of brute force."""

import json
import subprocess
import sys
from pathlib import Path

from conftest import BENCHMARKS
from filters.collection import KEPT, generated
from filters.report import report


def test_the_script_writes_what_it_measures(tmp_path: Path) -> None:
    command = [
        sys.executable, str(BENCHMARKS / "filters.py"), "--quick", "--sizes", "2000x16", "--queries", "3",
        "--out", str(tmp_path / "filters"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    record = json.loads((tmp_path / "filters.json").read_text())
    assert report(record) == (tmp_path / "filters.md").read_text()
    (size,) = record["sizes"]
    assert list(size["dense"]) == ["m3search, flat", "m3search, HNSW"]
    assert all(found[kept]["overlap"] == 1 for found in size["dense"].values() for kept in KEPT)
    assert {name: (one["short"], one["wrong"]) for name, one in size["checked"].items()} == dict.fromkeys(
        ["dense", "lexical", "BM25", "dense and lexical"], (0, 0)
    )
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_filter_keeps_its_share_of_documents_that_are_the_same_every_time() -> None:
    one, again = generated(3000, 8, 2), generated(3000, 8, 2)
    assert (one.vectors == again.vectors).all()
    assert one.metadata == again.metadata
    for name, share in (("all", 1), ("50%", 0.5), ("10%", 0.1), ("1%", 0.01)):
        assert abs(one.kept(name).mean() - share) < 0.03
    assert one.text(0).split() == [f"t{term}" for term in one.words[[0]].indices.tolist()]
