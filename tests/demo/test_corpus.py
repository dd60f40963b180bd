"""The demo's documents come from the standard library's sources, and from nothing else."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from m3search.demo.corpus import SHORTEST, stdlib_documents
from m3search.errors import SourceError
from m3search.records import Document


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(stdlib_documents())


def test_this_interpreter_has_two_to_three_thousand(documents):
    assert 2000 <= len(documents) <= 3000
    assert all(len(document.text) >= SHORTEST for document in documents)


def test_ids_are_unique_and_the_order_is_stable(documents):
    assert len({document.id for document in documents}) == len(documents)
    assert list(stdlib_documents()) == documents


def test_names_are_public_and_tests_are_left_out(documents):
    for document in documents:
        parts = document.id.split(".")
        assert not any(part.startswith("_") for part in parts), document.id
        assert not {"tests", "idlelib", "lib2to3"} & set(parts), document.id
        assert parts[:2] != ["unittest", "test"]
        assert parts[0] in sys.stdlib_module_names


def test_a_class_a_method_a_function_and_a_module(documents):
    by_id = {document.id: document for document in documents}
    archive = by_id["zipfile.ZipFile"]
    assert archive.title.startswith("class zipfile.ZipFile(file, mode='r', ")
    assert archive.text.startswith("Class with methods to open, read, write")
    assert archive.metadata["module"] == "zipfile"
    assert archive.metadata["kind"] == "class"
    assert archive.metadata["line"] > 1
    assert by_id["zipfile.ZipFile.extract"].title == "zipfile.ZipFile.extract(member, path=None, pwd=None)"
    assert by_id["zipfile.ZipFile.extract"].metadata["kind"] == "method"
    assert by_id["shutil.copytree"].metadata["kind"] == "function"
    assert by_id["textwrap.wrap"].text.count("\n    ") == 0
    assert by_id["json"].metadata == {"module": "json", "kind": "module", "line": 1}


@pytest.mark.parametrize("name", ["asyncio.gather", "os.path.join", "pathlib.Path", "unittest.TestCase", "io.open"])
def test_names_are_those_that_people_write(documents, name):
    assert name in {document.id for document in documents}


def test_nothing_of_the_library_is_imported():
    program = (
        "import sys; from m3search.demo.corpus import stdlib_documents; before = set(sys.modules); "
        "count = sum(1 for _ in stdlib_documents()); assert count > 2000; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_takes_seconds():
    start = time.process_time()
    for _ in stdlib_documents():
        pass
    assert time.process_time() - start < 5


def test_no_sources_on_disk(tmp_path):
    with pytest.raises(SourceError, match="ordinary installation of Python"):
        next(stdlib_documents(tmp_path))


def test_a_source_that_is_not_python(tmp_path):
    (tmp_path / "abc.py").write_text("x = 1\nthis is no python\n")
    (tmp_path / "ast.py").write_text("")
    with pytest.raises(SourceError, match=r"abc\.py:2: not Python"):
        list(stdlib_documents(tmp_path))


def test_the_rule_on_a_small_library(tmp_path):
    long = "A sentence that is certainly long enough to be kept by the rule of the demo's corpus."
    (tmp_path / "ast.py").write_text("")
    (tmp_path / "abc.py").write_text(
        f'''
def short():
    """Too short."""
def _private():
    """{long}"""
try:
    import _abc
except ImportError:
    def late(a: int, /, *, b: str = "x") -> None:
        """{long}"""
class Twice:
    """{long}"""
    def __init__(self, one, *rest):
        """And the constructor."""
    @property
    def size(self):
        """{long}"""
    @size.setter
    def size(self, value):
        """{long} Set."""
    @classmethod
    def make(cls):
        """{long}"""
''',
        encoding="utf-8",
    )
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text("from ._inner import *\nfrom .decoder import Decoder\n")
    (tmp_path / "json" / "_inner.py").write_text(
        f'__all__ = ["listed"]\ndef listed():\n    """{long}"""\ndef unlisted():\n    """{long}"""\n'
    )
    (tmp_path / "json" / "decoder.py").write_text(
        f'class Decoder:\n    """{long}"""\ndef helper():\n    """{long}"""\n'
    )
    found = {document.id: document for document in stdlib_documents(tmp_path)}
    assert list(found) == [
        *("abc.late", "abc.Twice", "abc.Twice.size", "abc.Twice.make"),
        *("json.listed", "json.Decoder", "json.decoder.helper"),
    ]
    assert found["abc.late"].title == "abc.late(a, /, *, b='x')"
    assert found["abc.Twice"].title == "class abc.Twice(one, *rest)"
    assert found["abc.Twice"].text == f"{long}\n\nAnd the constructor."
    assert found["abc.Twice.size"].title == "abc.Twice.size"
    assert found["abc.Twice.make"].title == "abc.Twice.make()"
