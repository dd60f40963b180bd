r"""Text that a machine has: pairs of a short and a long description, to fit the embedded model's heads on.

Imports demo's corpus, records, errors and its neighbours. Invariant: nothing here comes from a collection that is used to
measure, and what a collection's judgements name is left out, with everything that says the same.

Sources: descriptions of packages in apt's own lists, manual pages, docstrings of the standard library, metadata of
installed distributions. For half of the texts that have several sentences, one sentence asks for the others (Lee and
others 2019, "Latent retrieval", section 3). Run it with::

    python -m m3search.training.mini_text --output pairs.jsonl [--apt /var/lib/apt/lists] [--without FOLDER ...]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from shutil import which

import numpy as np

from m3search.demo.corpus import stdlib_documents
from m3search.errors import SourceError
from m3search.evaluation import load_beir
from m3search.training.examples import Example, write_examples

APT = Path("/var/lib/apt/lists")
MAN = Path("/usr/share/man")
SECTIONS = ("1", "2", "3", "4", "5", "7", "8")
HELPER = Path("/usr/lib/apt/apt-helper")

SHORTEST, LONGEST = 80, 1200
"""Characters of a long description; what is longer is cut where a word ends."""

Pair = tuple[str, str]
"""(short, long)."""

_EMPTY = re.compile(
    r"debcargo|metapackage|meta-package|transitional|dummy package|debug(?:ging)? symbols|kernel header files"
)
"""What packages say that have nothing to say of their own."""


def judged_names(collections: Iterable[Path]) -> set[str]:
    """The documents that any judgement of these BEIR folders names.

    Raises:
        SourceError: a folder cannot be read.
    """
    names: set[str] = set()
    for folder in collections:
        splits = sorted((folder / "qrels").glob("*.tsv"))
        if not splits:
            raise SourceError(f"{folder}: there is no qrels/*.tsv in this folder: give BEIR folders")
        for path in splits:
            for grades in load_beir(folder, path.stem).qrels.values():
                names.update(grades)
    return names


def package_pairs(lists: Path, without: set[str]) -> Iterator[Pair]:
    """Short and long English descriptions of Debian's packages.

    Args:
        lists: apt's folder; ``Translation-en`` files are read, plain or compressed.
        without: names of packages that are left out, with all that have the same long description.
    """
    found: dict[str, Pair] = {}
    for path in sorted(lists.glob("*Translation-en*")):
        for name, short, long in _stanzas(_decompressed(path)):
            found.setdefault(name, (short, long))
    unwanted = {_gist(long) for name, (_, long) in found.items() if name in without}
    for name, (short, long) in found.items():
        if name not in without and _gist(long) not in unwanted:
            yield short, long


def _decompressed(path: Path) -> str:
    if path.suffix == ".lz4":
        command = ["lz4", "-dc", str(path)] if which("lz4") else [str(HELPER), "cat-file", str(path)]
        try:
            return subprocess.run(command, check=True, capture_output=True).stdout.decode()  # noqa: S603 - no shell
        except (OSError, subprocess.CalledProcessError) as error:
            raise SourceError(f"{path} cannot be decompressed ({error}): install lz4") from error
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    return path.read_text(encoding="utf-8")


def _stanzas(text: str) -> Iterator[tuple[str, str, str]]:
    """(package, short, long) of every stanza."""
    for stanza in text.split("\n\n"):
        name = re.search(r"^Package: (.+)$", stanza, re.MULTILINE)
        description = re.search(r"^Description-en: (.+)\n((?: .*\n?)+)", stanza, re.MULTILINE)
        if name and description:
            lines = (line.strip() for line in description.group(2).splitlines())
            yield name.group(1), description.group(1), " ".join(line for line in lines if line != ".")


def manual_pairs(folder: Path) -> Iterator[Pair]:
    """The one line and the first paragraphs of English manual pages."""
    for section in SECTIONS:
        for path in sorted((folder / f"man{section}").glob("*.gz")):
            try:
                roff = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
            except (OSError, EOFError):
                continue  # a link to nothing, or a file cut off: another page will do
            yield from _manual_pair(roff)


def _manual_pair(roff: str) -> Iterator[Pair]:
    parts = re.split(r"^\.S[Hh]\s+\"?([^\n\"]+)\"?\s*$", roff, flags=re.MULTILINE)
    texts = dict(zip((head.strip().upper() for head in parts[1::2]), parts[2::2], strict=False))
    name, description = texts.get("NAME", ""), texts.get("DESCRIPTION", "")
    short = re.search(r"^\.Nd\s+(.+)$", name, re.MULTILINE)
    line = short.group(1) if short else _plain(name).partition(" - ")[2]
    line = _plain(line)
    if line and description:
        yield line, _plain(description)


def _plain(roff: str) -> str:
    """Roff without requests and escapes: crude, but the words stay."""
    lines = []
    for line in roff.splitlines():
        macro = re.match(r"^[.'](?:B|I|BR|BI|IR|IB|RB|RI|SM|SB|Nm|Ar|Fl|Pa|Em|Xr|Dq|Sq)\s+(.*)$", line)
        if macro:
            lines.append(macro.group(1).replace('"', ""))
        elif not line.startswith((".", "'")):
            lines.append(line)
    text = " ".join(lines)
    text = re.sub(r"\\f(?:\[\w*\]|\(\w\w|.)|\\s[+-]?\d", "", text)
    text = text.replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "").replace("\\e", "\\")
    text = re.sub(r"\\\(\w\w|\\\[[^\]]*\]|\\\*\(\w\w|\\\*\[[^\]]*\]|\\[\w|^/,:~!%. ]", " ", text)
    return " ".join(text.split())


def docstring_pairs() -> Iterator[Pair]:
    """The first sentence of the standard library's docstrings, and the rest; where there is no rest, the name asks."""
    for document in stdlib_documents():
        first, _, rest = " ".join(document.text.split()).partition(". ")
        if len(rest) >= SHORTEST:
            yield first, f"{document.title} {rest}"
        else:
            yield document.title, document.text


def metadata_pairs() -> Iterator[Pair]:
    """Summary and description of the installed distributions."""
    for distribution in sorted(metadata.distributions(), key=lambda one: str(one.metadata["Name"])):
        about = distribution.metadata.json
        long, short = str(about.get("description") or ""), str(about.get("summary") or "")
        long = re.sub(r"<[^>]+>|!?\[([^\]]*)\]\([^)]*\)|\.\. [\w-]+::.*|https?://\S+|[#*`=~|_-]{2,}", r"\1", long)
        if short:
            yield short, long


def examples(pairs: Iterable[Pair], *, seed: int, limit: int | None = None) -> list[Example]:
    """Pairs as examples: cleaned, none twice, shuffled, some with a sentence that asks for the others.

    Args:
        pairs: short and long texts.
        seed: of order and sentences.
        limit: how many to keep.
    """
    kept: dict[str, Pair] = {}
    shorts: set[str] = set()
    for short, long in pairs:
        short, long = " ".join(short.split()), _cut(" ".join(long.split()))  # noqa: PLW2901 - cleaned
        if len(long) < SHORTEST or len(short) < 8 or short.lower() in shorts or _EMPTY.search(long):
            continue
        if kept.setdefault(_gist(long), (short, long)) == (short, long):
            shorts.add(short.lower())
    generator = np.random.default_rng(seed)
    texts = list(kept.values())
    found = []
    for place in generator.permutation(len(texts))[:limit]:
        short, long = texts[place]
        sentences = re.split(r"(?<=[.!?;]) +(?=\S)", long)
        if len(sentences) >= 3 and generator.random() < 0.5:
            asking = int(generator.integers(len(sentences)))
            if len(sentences[asking]) >= 30:
                others = " ".join(sentences[:asking] + sentences[asking + 1 :])
                found.append(Example(sentences[asking], (f"{short}\n{others}",)))
                continue
        found.append(Example(short, (long,)))
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0]


def _gist(text: str) -> str:
    """What texts that say the same have in common: their first words."""
    return hashlib.sha256(" ".join(text.lower().split())[:150].encode()).hexdigest()


def main() -> None:
    """The command line: writes the pairs and says where they are from."""
    parser = argparse.ArgumentParser(description="Pairs of texts that this machine has.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--apt", type=Path, default=APT, help="folder of apt's lists")
    parser.add_argument("--man", type=Path, default=MAN, help="folder of manual pages")
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="BEIR folders whose documents to leave out")
    parser.add_argument("--limit", type=int, help="examples to keep")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sources = {
        "packages": list(package_pairs(arguments.apt, judged_names(arguments.without))),
        "manual pages": list(manual_pairs(arguments.man)),
        "docstrings": list(docstring_pairs()),
        "distributions": list(metadata_pairs()),
    }
    for name, pairs in sources.items():
        print(f"{name}: {len(pairs):,}")
    every = examples((pair for pairs in sources.values() for pair in pairs), seed=arguments.seed, limit=arguments.limit)
    print(f"{write_examples(every, arguments.output):,} examples in {arguments.output}")


if __name__ == "__main__":
    main()
