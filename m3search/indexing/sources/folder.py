"""Folder: text and Markdown files, a document each.

Imports lines, record and source. Invariant: files come sorted by path; nothing outside the folder is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from m3search.errors import SourceError
from m3search.indexing.documents import LONGEST_TEXT
from m3search.indexing.sources.lines import bad_line, not_utf8, readable
from m3search.indexing.sources.record import Record
from m3search.indexing.sources.source import Estimate

MARKDOWN = (".md", ".markdown")
TEXT = (".txt", ".rst")

_FRONT_MATTER = re.compile(r"\A---\s*\n.*?\n(?:---|\.\.\.)\s*\n", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}#{1,6}(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")


def read_folder(folder: Path, name: str) -> Iterator[Record]:
    """A record for every text and Markdown file below the folder, except hidden ones.

    The id is the path relative to the folder with ``/``; the title is the first heading of a Markdown file, and the
    file's name without its ending where there is none. Links are followed to files inside the folder only.

    Raises:
        SourceError: a folder cannot be read, or there is no such file.
    """
    count = 0
    for path in _files(folder, name):
        count += 1
        yield _record(path, folder)
    if not count:
        raise SourceError(
            f"{name}: there is no {', '.join((*TEXT, *MARKDOWN))} file in this folder, and no corpus.jsonl: "
            "name a file, or the folder that has them"
        )


def _files(folder: Path, name: str) -> Iterator[Path]:
    root = folder.resolve()
    yield from _walk(folder, root, name)


def _walk(folder: Path, root: Path, name: str) -> Iterator[Path]:
    with readable(_printable(folder)), os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root, name)
        elif path.suffix.lower() in (*TEXT, *MARKDOWN) and entry.is_file() and _is_inside(entry, root):
            yield path


def _is_inside(entry: os.DirEntry[str], root: Path) -> bool:
    return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(root)


def _record(path: Path, folder: Path) -> Record:
    where = _printable(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(LONGEST_TEXT + 1)
    except OSError as error:
        return Record(where, error=bad_line(where, "unreadable file", f"cannot be read: {error.strerror}"))
    if len(content) > LONGEST_TEXT:
        reason = f"the file has more than {LONGEST_TEXT:,} bytes: split it"
        return Record(where, error=bad_line(where, "text too long", reason))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Record(where, error=not_utf8(f"{where}:{line}", content[error.start], error.start))
    text = text.replace("\r\n", "\n")
    title = _heading(text) if path.suffix.lower() in MARKDOWN else ""
    return Record(where, {"id": path.relative_to(folder).as_posix(), "title": title or path.stem, "text": text})


def _heading(text: str) -> str:
    """The first heading of a Markdown text, outside of front matter and code; "" where there is none."""
    fence = ""
    above = ""
    for line in _FRONT_MATTER.sub("", text, count=1).split("\n"):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence):
                fence = ""
        elif opened:
            fence = opened[1]
        elif (heading := _ATX.match(line)) and heading[1]:
            return heading[1].strip()
        elif above and _SETEXT.match(line):
            return above
        above = "" if fence or opened else line.strip()
    return ""


def _printable(path: Path) -> str:
    """A path for messages, also where the file system gave bytes that are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def estimate_folder(folder: Path, name: str) -> Estimate:
    """Files and bytes, counted."""
    documents = size = 0
    for path in _files(folder, name):
        with readable(_printable(path)):
            size += path.stat().st_size
        documents += 1
    return Estimate(documents, size)
