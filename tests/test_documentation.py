"""Documentation that cannot rot: its code runs, its links lead somewhere, its figures are those of the committed results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
SWIG = "ignore:builtin type:DeprecationWarning"  # a warning of CPython about faiss, not ours
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run_python(code_or_file, folder):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-W", SWIG, *code_or_file],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(example, tmp_path):
    assert run_python([str(example)], tmp_path)


def test_the_readme_s_python_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = run_python(["-c", code], tmp_path).splitlines()
    assert lines[0].startswith("1 zipfile ")
    assert "exact" in lines
    assert any(line.startswith("├─ dense: ") for line in lines)
    assert lines[-1].startswith("└─ certificate: ")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    ("page", "mark", "results"),
    [
        ("README.md", "quality", "quality.md"),
        ("README.md", "lexical", "lexical-brief.md"),
        ("docs/long-documents.md", "long-documents", "long-documents.md"),
        ("docs/planner.md", "hybrid", "hybrid-brief.md"),
    ],
)
def test_a_page_shows_the_committed_figures(page, mark, results):
    shown = re.search(rf"<!-- {mark}: .*? -->\n(.*?)<!-- end -->", (ROOT / page).read_text(), re.DOTALL)
    assert shown.group(1) == (ROOT / "benchmarks" / "results" / results).read_text()


def test_the_architecture_names_every_room_and_every_room_says_what_it_owns():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for entry in sorted((ROOT / "m3search").iterdir()):
        if entry.name == "__init__.py" or not (entry.suffix == ".py" or (entry / "__init__.py").exists()):
            continue
        name = f"`{entry.name}/`" if entry.is_dir() else f"`{entry.name}`"
        assert name in text, f"ARCHITECTURE.md does not name {name}"


def test_every_module_has_a_docstring():
    for path in sorted((ROOT / "m3search").rglob("*.py")):
        assert path.read_text().lstrip("r").startswith('"""'), path


def test_no_module_outgrows_a_screenful_of_thought():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "m3search").rglob("*.py")}
    assert max(lengths.values()) < 500, max(lengths, key=lengths.get)


def test_the_public_names_are_the_real_surface():
    import m3search

    for name in m3search.__all__:
        assert getattr(m3search, name).__doc__, name
    code = "from m3search import *; print(sorted(name for name in dir() if not name.startswith('_')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(sorted(m3search.__all__))
    with pytest.raises(AttributeError, match="no attribute 'Indx'"):
        _ = m3search.Indx
