"""Help that cannot rot, and a start that nobody waits for."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from m3search.cli import app

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands


def test_the_commands_are_those_that_are_promised():
    assert set(COMMANDS) == set(
        "build rebuild add delete merge compact check snapshot search facets eval info demo doctor warm train mine".split()
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_a_true_example(name):
    command = COMMANDS[name]
    assert len(command.help) > 40
    example = re.search(r"Example: m3search (.+)", command.help)
    assert example, f"{name} has no example"
    assert example.group(1).split()[0] == name
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    for option in re.findall(r"\s(--?[a-z][a-z-]*)", example.group(1)):
        assert option in known
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_the_docs(name):
    assert f"m3search {name}" in (ROOT / "README.md").read_text()
    assert f"## m3search {name}" in (ROOT / "docs" / "command-line.md").read_text()


def test_every_option_is_in_the_docs():
    text = (ROOT / "docs" / "command-line.md").read_text()
    for name, command in COMMANDS.items():
        section = text.split(f"## m3search {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option not in {"--help", "--json"}:
                    assert f"`{option}" in section, f"{option} of {name} is not in docs/command-line.md"


def cpu_seconds(*arguments):
    """CPU time of a Python process, the least of five: the machine may be busy."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_is_there_at_once():
    assert cpu_seconds("-c", "from m3search.cli import main; main()", "--help") < 0.5


def test_importing_is_cheap_and_loads_nothing_heavy():
    code = """
import sys, m3search
loaded = {"torch", "transformers", "faiss", "numba", "scipy", "numpy", "lmdb"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else 0)
"""
    assert cpu_seconds("-c", code) < 0.2


def test_help_loads_nothing_heavy():
    code = """
import sys
sys.argv = ["m3search", "search", "--help"]
from m3search.cli import main
try:
    main()
except SystemExit:
    pass
loaded = {"torch", "transformers", "faiss", "numba", "scipy", "lmdb"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
