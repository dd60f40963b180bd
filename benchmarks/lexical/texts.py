"""ShortTexts: titles and sentences of whatever real text a machine has.

Owns where texts come from: Debian's package descriptions, from the lists that apt keeps, and BEIR folders. Nothing that is read
here is written anywhere: a collection of them holds numbers only.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APT_HELPER = Path("/usr/lib/apt/apt-helper")
FEWEST_WORDS = 3
DEBIAN = "debian"
"""How the name of a source begins that is one of apt's lists."""

_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+")
_BULLET = re.compile(r"^[\s.*+\-o•]+(?=\s)")
_COMPRESSED = re.compile(r"\.(lz4|xz|gz|bz2|lzma|zst)$")
_DESCRIPTION = re.compile(r"^Description(?:-[a-z][A-Za-z_]*)?: ")


@dataclass(frozen=True, slots=True)
class Text:
    """A document: its title, which may be empty, and its sentences."""

    title: str
    sentences: tuple[str, ...]


def apt_lists(folder: Path) -> list[Path]:
    """The description files among apt's lists: translations, English among them, and the short ones of Packages."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if "_Translation-" in path.name or "_Packages" in path.name)


def debian(path: Path) -> Iterator[Text]:
    """The descriptions of one of apt's lists, however it is compressed."""
    command = [str(APT_HELPER), "cat-file", str(path)] if APT_HELPER.exists() else ["cat", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace") as process:
        assert process.stdout is not None
        title, lines, inside = "", [], False
        for line in process.stdout:
            if inside and line.startswith(" "):
                lines.append(line[1:].rstrip("\n"))
                continue
            inside = False
            match = _DESCRIPTION.match(line)
            if match:
                title, inside = line[match.end() :].strip(), True
            elif not line.strip() and title:
                yield Text(title, tuple(_sentences(_paragraphs(lines))))
                title, lines = "", []
        if title:
            yield Text(title, tuple(_sentences(_paragraphs(lines))))
    if process.returncode:
        raise OSError(
            f"{' '.join(command)} failed with {process.returncode}: run apt-get update, or leave the list out"
        )


def beir(path: Path) -> Iterator[Text]:
    """The documents of a BEIR folder's corpus.jsonl."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield Text(record.get("title") or "", tuple(_sentences(record["text"])))


def sources(apt: Path, collections: Path | None) -> dict[str, Iterator[Text]]:
    """Name -> texts of everything that is there, English first; each iterator reads when it is asked."""
    english: dict[str, Iterator[Text]] = {}
    others: dict[str, Iterator[Text]] = {}
    for path in apt_lists(apt):
        name = f"{DEBIAN} {_COMPRESSED.sub('', path.name.split('_dists_')[-1])}"
        (english if name.endswith(("_Packages", "Translation-en")) else others)[name] = debian(path)
    folders = sorted(collections.glob("*/corpus.jsonl")) if collections is not None else []
    return {**english, **{path.parent.name: beir(path) for path in folders}, **others}


def _paragraphs(lines: list[str]) -> str:
    """A description as running text: a line with a dot parts paragraphs, an indented one stands for itself."""
    pieces: list[str] = []
    for line in lines:
        if line.strip() == ".":
            pieces.append("\n")
        elif line.startswith(" ") or _BULLET.match(line):
            pieces.append("\n" + line.strip())
        else:
            pieces.append(" " + line.strip())
    return "".join(pieces)


def _sentences(text: str) -> Iterator[str]:
    for piece in _SENTENCE_END.split(text):
        sentence = _BULLET.sub("", piece).strip()
        if sentence.count(" ") >= FEWEST_WORDS - 1 or (len(sentence) > 8 and not sentence.isascii()):
            yield sentence
