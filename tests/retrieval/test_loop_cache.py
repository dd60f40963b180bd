"""The mark that says whether numba's cache holds the loops: when it holds, and that it names all that is compiled."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from m3search.retrieval import loop_cache
from m3search.retrieval.loop_cache import PACKAGE, SOURCES, LoopCache


@pytest.fixture
def package(tmp_path):
    """A package with sources of these names."""
    for source in SOURCES:
        path = tmp_path / "package" / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {source}\n")
    return tmp_path / "package"


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "loop.nbi"
    path.write_bytes(b"code")
    return path


def marked(package, folder, *files):
    LoopCache(package, folder).mark(files)
    return LoopCache(package, folder)


def test_a_mark_holds_for_these_sources_and_while_the_files_are_there(package, tmp_path, kept):
    assert not LoopCache(package, tmp_path / "marks").is_warm()
    assert marked(package, tmp_path / "marks", kept).is_warm()
    kept.unlink()
    assert not LoopCache(package, tmp_path / "marks").is_warm()
    assert LoopCache(package, tmp_path / "marks").is_of_these_sources()


@pytest.mark.parametrize("source", SOURCES)
def test_a_change_in_any_source_ends_it(package, tmp_path, kept, source):
    marked(package, tmp_path / "marks", kept)
    (package / source).write_text("# another of the same age and length"[: len(f"# {source}\n")])
    changed = LoopCache(package, tmp_path / "marks")
    assert not changed.is_warm()
    assert not changed.is_of_these_sources()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"sources": 1}', b"\xff\xfe"])
def test_a_mark_that_is_not_whole_says_nothing(package, tmp_path, kept, damage):
    cache = marked(package, tmp_path / "marks", kept)
    (mark,) = (tmp_path / "marks").glob("*.json")
    mark.write_bytes(damage)
    assert not cache.is_warm()
    assert not cache.is_of_these_sources()
    cache.mark([kept])
    assert cache.is_warm()


def test_another_machine_or_setting_has_a_mark_of_its_own(package, tmp_path, kept, monkeypatch):
    marked(package, tmp_path / "marks", kept)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    other = LoopCache(package, tmp_path / "marks")
    assert not other.is_warm()
    assert other.is_of_these_sources()
    other.mark([kept])
    assert other.is_warm()
    monkeypatch.delenv("NUMBA_CPU_NAME")
    assert LoopCache(package, tmp_path / "marks").is_warm()


def test_marks_of_older_sources_are_removed_and_those_of_another_installation_stay(package, tmp_path, kept):
    marked(package, tmp_path / "marks", kept)
    elsewhere = tmp_path / "elsewhere"
    package.rename(elsewhere)
    marked(elsewhere, tmp_path / "marks", kept)
    (elsewhere / SOURCES[0]).write_text("changed")
    assert marked(elsewhere, tmp_path / "marks", kept).is_warm()
    elsewhere.rename(package)
    (package / SOURCES[0]).write_text(f"# {SOURCES[0]}\n")
    assert LoopCache(package, tmp_path / "marks").is_warm()
    assert len(list((tmp_path / "marks").iterdir())) == 2


def test_where_nothing_can_be_written_there_is_no_mark_and_no_error(package, tmp_path, kept):
    (tmp_path / "marks").write_text("a file in its place")
    cache = marked(package, tmp_path / "marks", kept)
    assert not cache.is_warm()
    with cache.alone() as alone:
        assert not alone


def test_one_process_at_a_time(package, tmp_path, monkeypatch):
    monkeypatch.setattr(loop_cache, "_WAIT", 0.05)
    one, other = LoopCache(package, tmp_path), LoopCache(package, tmp_path)
    with one.alone() as first, other.alone() as second:
        assert (first, second) == (True, False)
    with other.alone() as second:
        assert second


def test_marks_lie_where_numba_keeps_its_cache(package, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    beside = package / "retrieval" / "__pycache__"
    marked(package, None)
    assert list(beside.glob("*.json"))
    for mark in beside.iterdir():
        mark.unlink()
    beside.rmdir()
    beside.write_text("a file in its place")
    marked(package, None)
    assert list((tmp_path / "user").rglob("*.json")) or sys.platform != "linux"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    marked(package, None)
    assert list((tmp_path / "chosen").glob("*.json"))


def test_the_processor_is_known():
    assert len(loop_cache._processor()) > 10


def test_opening_and_asking_what_an_index_holds_load_no_numba(tmp_path):
    code = """
import gc, sys
from m3search import Index
from m3search.cli import main
from m3search.retrieval.loop_cache import LoopCache
assert LoopCache().is_warm()
index = Index.open(sys.argv[1])
assert len(index) == 2 and index.info()["inverted"]["bm25"]["postings"] == 4
assert index.get("0").text == "a text"
assert "numba" not in sys.modules, "opening loads numba"
hit = index.search("another")[0]
assert hit.text == "another text" and "numba" in sys.modules
assert gc.isenabled(), "the collector stays off"
from m3search.retrieval.field_search import search_field
from m3search.storage.term_lookup import find_terms
for loop in (search_field, find_terms):
    assert len(loop.signatures) == 1 and not loop.stats.cache_misses, loop
"""
    from m3search import Index

    Index.build(["a text", "another text"], tmp_path / "index", encoder=None, progress=False).close()
    ran = subprocess.run([sys.executable, "-c", code, tmp_path / "index"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_every_file_that_is_compiled_is_named():
    """A file that uses numba, and whatever gives it constants or tuples: numba's cache notices no change there."""
    trees = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    needed = set()
    for module, tree in trees.items():
        imported = list(imports(tree))
        if any(name.startswith(("numba", "llvmlite", "m3search.retrieval.compiling")) for name, _ in imported):
            needed.add(module)
            for name, member in imported:
                if name.startswith("m3search"):
                    needed |= homes(name, member, trees)
    named = {"m3search." + source.removesuffix(".py").replace("/", ".") for source in SOURCES}
    for_types = {f"m3search.retrieval.{name}" for name in ("max_sim", "packed_query", "warming")}
    assert named - for_types == needed - for_types - {"m3search.errors"}


def imports(tree):
    """What a module imports when it is imported: (module, member)."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            yield from ((statement.module, alias.name) for alias in statement.names)
        elif isinstance(statement, ast.Import):
            yield from ((alias.name, None) for alias in statement.names)


def homes(name, member, trees):
    """The module in which a member is made, through those that only hand it on."""
    if f"{name}.{member}" in trees:
        return {f"{name}.{member}"}
    module = importlib.import_module(name)
    source = trees.get(name) or trees[f"{name}.__init__"]
    for statement in source.body:
        if isinstance(statement, ast.ImportFrom) and member in {alias.name for alias in statement.names}:
            return homes(statement.module, member, trees)
    assert hasattr(module, member)
    return {name}


def test_paths_are_those_of_the_package():
    assert all((PACKAGE / source).is_file() for source in SOURCES)
    assert Path(loop_cache.__file__).is_relative_to(PACKAGE)
