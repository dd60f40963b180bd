"""``m3search demo``: the main job on text that every machine has."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, note, print_hits, print_json


def demo(
    index: Annotated[
        Path | None, typer.Option(help="Folder of the demo's index; without it, the user's cache directory.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits of each question.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Index the docstrings of Python's standard library, then answer three questions; a second call reuses the index.

    Example: m3search demo
    """
    from m3search.demo.library_index import QUESTIONS, library_index, usual_path

    path = usual_path() if index is None else index
    opened, built = library_index(path, progress=not as_json, say=note)
    with opened:
        if not built:
            note(f"using the index in {path}: {len(opened):,} documents")
        answers = [(question, opened.search(question, k)) for question in QUESTIONS]
        if as_json:
            found = [{"query": question, **hits.to_dict()} for question, hits in answers]
            print_json({"index": str(path), "built": built, "documents": len(opened), "answers": found})
            return
        for question, hits in answers:
            print_hits(hits, question)
    program = _program()
    note(f'Ask it yourself:  {program} search {path} "sort a list of dictionaries"')
    note(f"Index your own:   {program} build FOLDER_OR_FILE --index indexes/mine")


def _program() -> str:
    """What to type to run this program again: its name if the shell finds it, else where it lies."""
    started = sys.argv[0]
    found = shutil.which("m3search")
    return "m3search" if found and Path(found).resolve() == Path(started).resolve() else started
