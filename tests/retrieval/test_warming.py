"""Compiling the loops, in processes of their own over a copy of the package whose folders take no cache."""

import os
import shutil
import subprocess
import sys

import pytest

from m3search.retrieval.loop_cache import PACKAGE

COMPILES = "m3search compiles its search loops"
COMPILED = "m3search compiled its search loops in "

BUILD = """
from m3search import Index
with Index.build(["a text", "another text"], sys.argv[1], encoder=None, progress=False) as index:
    assert index.search("another")[0].text == "another text"
"""

SEARCH = """
from m3search import Index
with Index.open(sys.argv[1]) as index:
    assert "numba" not in sys.modules, "opening loads numba"
    assert index.search("another")[0].text == "another text"
from m3search.retrieval import field_search
from m3search.retrieval.warming import warm
assert sum(field_search.search_field.stats.cache_hits.values()) == 1
warm()
"""

LOSE_A_LOOP = """
from pathlib import Path
from m3search import Index
with Index.open(sys.argv[1]) as index:
    lost = list(Path(sys.argv[2]).rglob("term_lookup.find_terms*"))
    assert lost
    for file in lost:
        file.unlink()
    assert index.search("another")[0].text == "another text"
"""

OPEN_OTHER_SOURCES = """
from m3search.retrieval import warming
from m3search.retrieval.loop_cache import LoopCache
assert not LoopCache().is_warm() and not LoopCache().is_of_these_sources()
assert warming._forget()
"""


class Installation:
    """A copy of the package that no cache can be written beside: a file stands where the folder would, which stops root too."""

    def __init__(self, folder):
        self.package, self.cache, self.folder = folder / "site" / "m3search", folder / "cache", folder
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        for room in ("retrieval", "storage"):
            (self.package / room / "__pycache__").write_text("a file in its place")

    def start(self, code, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        environment |= {
            "PYTHONPATH": str(self.package.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": str(self.cache),
            "HOME": str(self.folder),
        }
        whose = f"import sys, m3search; assert m3search.__file__.startswith({str(self.folder)!r}), m3search.__file__\n"
        return subprocess.Popen(
            [sys.executable, "-c", whose + code, *map(str, arguments)],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, code, *arguments):
        return said(self.start(code, *arguments))

    def kept(self):
        """numba's files and our marks, wherever they came to lie."""
        return {
            path for path in self.folder.rglob("*") if path.suffix in {".nbi", ".nbc"} or "m3search-loops" in path.name
        }


def said(process):
    output = process.communicate(timeout=500)[0]
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("read-only"))


@pytest.fixture(scope="module")
def first_messages(installation):
    """What two builds say that begin at once, the first of this installation."""
    builds = [installation.start(BUILD, installation.folder / f"index-{number}") for number in range(2)]
    return [said(build) for build in builds]


@pytest.mark.skipif(
    sys.platform != "linux", reason="the user's cache directory is named by XDG_CACHE_HOME on Linux only"
)
class TestReadOnlyPackage:
    def test_of_two_processes_one_compiles_and_says_how_long_it_took(self, first_messages):
        assert sorted(message.count(COMPILES) for message in first_messages) == [0, 1]
        (message,) = (message for message in first_messages if message)
        seconds = float(message.split(COMPILED)[1].split(" s;")[0])
        assert seconds > 0.5

    def test_the_cache_lies_in_the_users_directory(self, installation, first_messages):
        kept = installation.kept()
        assert any(path.name.startswith("field_search.search_field") for path in kept)
        assert any(path.name.startswith("inversion.invert") for path in kept)
        assert any(path.suffix == ".json" for path in kept)
        assert all(path.is_relative_to(installation.cache) for path in kept)
        assert (installation.package / "retrieval" / "__pycache__").is_file()

    def test_the_next_process_compiles_nothing(self, installation, first_messages):
        before = {path: path.stat().st_mtime_ns for path in installation.kept()}
        assert installation.run(SEARCH, installation.folder / "index-0") == ""
        assert {path: path.stat().st_mtime_ns for path in installation.kept()} == before

    def test_whoever_finds_a_loop_gone_at_the_first_search_is_told_too(self, installation, first_messages):
        message = installation.run(LOSE_A_LOOP, installation.folder / "index-0", installation.cache)
        assert (message.count(COMPILES), message.count(COMPILED)) == (0, 1)
        assert installation.run(SEARCH, installation.folder / "index-0") == ""

    def test_a_change_in_a_file_that_numba_does_not_compare_is_noticed(self, installation, first_messages):
        """search_field is compiled with block_max in it; numba looks at field_search.py only."""
        with (installation.package / "retrieval" / "block_max.py").open("a") as file:
            file.write("# changed\n")
        assert installation.run(OPEN_OTHER_SOURCES) == ""
        assert not [path for path in installation.kept() if path.suffix in {".nbi", ".nbc"}]
