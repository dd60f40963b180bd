"""App: the commands under one name, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from m3search import __version__
from m3search.cli.add import add
from m3search.cli.build import build
from m3search.cli.check import check
from m3search.cli.compact import compact
from m3search.cli.delete import delete
from m3search.cli.demo import demo
from m3search.cli.doctor import doctor
from m3search.cli.evaluate import evaluate
from m3search.cli.facets import facets
from m3search.cli.info import info
from m3search.cli.merge import merge
from m3search.cli.mine import mine
from m3search.cli.rebuild import rebuild
from m3search.cli.search import search
from m3search.cli.snapshot import snapshot
from m3search.cli.terminal import complain
from m3search.cli.train import train
from m3search.cli.warm import warm
from m3search.errors import M3SearchError, M3SearchWarning

app = typer.Typer(
    name="m3search",
    help="Hybrid search on one machine: dense, lexical, BM25 and ColBERT scores, blended exactly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., None], ...] = (
    build, rebuild, search, facets, info, add, delete, merge, compact, check, snapshot, train, mine, demo, doctor, warm,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)
app.command("eval")(evaluate)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"m3search {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hybrid search on one machine: dense, lexical, BM25 and ColBERT scores, blended exactly."""


def main() -> None:
    """Runs the command line: exit code 0 for success, 1 for what failed, 2 for wrong arguments, 130 when interrupted."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # silences a warning of a library that nobody forks here
    warnings.simplefilter("ignore", M3SearchWarning)  # the commands print the same in their own words
    try:
        app()
    except M3SearchError as error:
        complain(str(error))
        sys.exit(1)
    except BrokenPipeError:
        # whoever read the output has gone; the interpreter must not try to flush it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
