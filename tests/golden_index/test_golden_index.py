"""The golden indexes: what was written in any format opens, reads back and answers, in this version and every later one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from make_golden_index import ALL, DOCUMENTS, EXPECTED, IDENTITY, PASSAGES, answers, encodings

from m3search import Index


def same(found, expected):
    """Equal but for numbers, which may differ by 1e-6."""
    if isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == expected


@pytest.fixture(params=ALL, ids=lambda path: path.name)
def golden(request):
    return request.param


@pytest.fixture
def path(golden, tmp_path):
    return Path(shutil.copytree(golden, tmp_path / "golden"))


def test_it_is_small_and_has_no_locks(golden):
    files = [file for file in golden.rglob("*") if file.is_file() and file.name not in {"lock.mdb", "write.lock"}]
    assert {file.suffix for file in files} == {".mdb", ".vectors", ".colbert"}
    assert sum(file.stat().st_size for file in files) < 100_000


def test_it_answers_as_it_did_when_it_was_made(path):
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    with Index.open(path, verify=True) as index:
        same(json.loads(json.dumps(answers(index))), expected)
    assert expected["info"]["documents"] == 6
    assert [len(hits) for hits in expected["answers"]] == [5, 1, 4, 5, 5]


def test_its_vectors_read_back_as_they_were_given(path):
    given = encodings()
    ends = np.cumsum([0, *PASSAGES])
    with Index.open(path) as index:
        exported = [(document.id, stored.rows(0, len(stored))) for [document], stored in index.export(batch=1)]
        weights = index._snapshot.manifest.config.weights
        assert str(weights) == "dense=1,lexical=0.3,bm25=0.5,colbert=1"
        assert index._snapshot.manifest.config.encoder == IDENTITY
    alive = [number for number, document in enumerate(DOCUMENTS) if document.id != "gone"]
    assert [name for name, _ in exported] == [DOCUMENTS[number].id for number in alive]
    for (_, stored), number in zip(exported, alive, strict=True):
        rows = slice(ends[number], ends[number + 1])
        assert stored.dense.tolist() == given.dense[rows].tolist()
        for row, token, weight in zip(*given.lexical[rows].tocoo().coords, given.lexical[rows].data, strict=True):
            kept = np.float16(weight) if weight >= 2.0**-14 else weight
            assert stored.lexical[row, token] == kept
        assert stored.lexical.nnz == given.lexical[rows].nnz
        assert len(stored.colbert) == PASSAGES[number]
        for mine, theirs in zip(stored.colbert, given.colbert[rows], strict=True):
            assert mine == pytest.approx(theirs, abs=1 / 254)


def test_it_can_be_changed_and_copied(path, tmp_path):
    with Index.open(path, mode="w") as index:
        assert index.get("gone") is None
        assert index.delete(["zip"]) == 1
        index.save(tmp_path / "copy")
    with Index.open(tmp_path / "copy", verify=True) as copy:
        assert copy.info()["generation"] == 3
        assert [document.id for document in copy] == ["sockets", "bücher/日本", "empty", "locks", "queues"]


OPEN = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
from make_golden_index import answers
from m3search import Index
for path in (sys.argv[3], sys.argv[1]):  # what is imported late may lie where only root can read
    with Index.open(path) as index:
        found = answers(index)
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
assert not os.access(sys.argv[1], os.W_OK)
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no POSIX permissions")
def test_it_opens_where_nothing_can_be_written(golden, path):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        sealed = Path(shutil.copytree(golden, Path(folder) / "golden"))
        entries = [sealed, *sealed.rglob("*")]
        for entry in entries:
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        try:
            arguments = [str(sealed), str(Path(__file__).parent), str(path)]
            done = subprocess.run([sys.executable, "-c", OPEN, *arguments], capture_output=True, text=True, check=False)
        finally:
            for entry in entries:
                entry.chmod(0o755)
    assert done.returncode == 0, done.stderr
    same(json.loads(done.stdout), json.loads(EXPECTED.read_text(encoding="utf-8")))
