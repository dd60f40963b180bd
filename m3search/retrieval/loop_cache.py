"""LoopCache: whether numba's cache holds the loops as they are today, found out without numba.

To import numba and to load the loops takes half a second, to compile them ten: an opening does the second where it must and
leaves the first to the first search. So a mark tells what was compiled: a small file where numba keeps its cache, which names
the cache's files. Imports the standard library only. Invariant: a mark that is whole was written after the last loop; it holds
for these sources, this Python, numba and processor while the files it names are there. If it is wrong all the same, the
first search compiles.

numba compares the source file of a function with its cache, but not those of the functions that are compiled into it, nor
of the constants. So whoever finds no mark for these sources removes what numba kept of the loops.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = Path(__file__).parent.parent

SOURCES = (
    "retrieval/addresses.py",
    "retrieval/best_first.py",
    "retrieval/block_max.py",
    "retrieval/compiling.py",
    "retrieval/field_search.py",
    "retrieval/forward.py",
    "retrieval/graph_walk.py",
    "retrieval/intrinsics.py",
    "retrieval/joint.py",
    "retrieval/joint_loop.py",
    "retrieval/max_sim.py",
    "retrieval/packed_query.py",
    "retrieval/passage_loop.py",
    "retrieval/product_tile.py",
    "retrieval/products.py",
    "retrieval/row_product.py",
    "retrieval/scratch.py",
    "retrieval/segment_search.py",
    "retrieval/term_counts.py",
    "retrieval/warming.py",
    "storage/block_postings.py",
    "storage/inversion.py",
    "storage/term_lookup.py",
)
"""What is compiled, where its constants and tuples come from, and who says for which types."""

_WAIT = 600.0  # seconds for another process to compile; whoever waits longer compiles too
_CPU_LINES = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ")


class LoopCache:
    """Where the loops of this installation are kept.

    Args:
        package: folder of the package.
        folder: of the marks; None: the one where numba keeps its cache, or one that can be written as that one can.
    """

    def __init__(self, package: Path = PACKAGE, folder: Path | None = None) -> None:
        self._package = package
        self._folder = _folder(package) if folder is None else folder
        self._prefix = f"m3search-loops-{_digest(str(package))[:8]}"

    @cached_property
    def _sources(self) -> str:
        return _digest(*(_content(self._package / source) for source in SOURCES))

    @cached_property
    def _mark(self) -> Path:
        return self._folder / f"{self._prefix}-{_digest(*_machine())[:16]}.json"

    def is_warm(self) -> bool:
        """Whether all loops are compiled for these sources and this machine."""
        mark = _read(self._mark)
        return mark is not None and mark[0] == self._sources and all(map(os.path.exists, mark[1]))

    def is_of_these_sources(self) -> bool:
        """Whether what numba keeps comes from these sources, compiled here or on another machine."""
        marks = (_read(path) for path in self._folder.glob(f"{self._prefix}-*.json"))
        return any(mark is not None and mark[0] == self._sources for mark in marks)

    def mark(self, files: Iterable[Path]) -> None:
        """Say that all is compiled, into these files of numba's; does nothing where that cannot be written."""
        content = json.dumps({"sources": self._sources, "files": [str(file) for file in files]})
        part = self._mark.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for other in self._folder.glob(f"{self._prefix}-*.json"):
                mark = _read(other)
                if mark is None or mark[0] != self._sources:
                    other.unlink(missing_ok=True)
            try:
                part.write_text(content, "utf-8")
                part.replace(self._mark)
            finally:
                part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Holds other processes of this installation off while the block compiles; says whether it could.

        It cannot where no lock file can be written, or another process takes too long.
        """
        from filelock import FileLock, Timeout

        held = contextlib.ExitStack()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(self._folder / f"{self._prefix}.lock", timeout=_WAIT))
            alone = True
        except (OSError, NotImplementedError, Timeout):
            alone = False
        with held:
            yield alone


def _folder(package: Path) -> Path:
    """Where numba looks first, of what it can write: the user's choice, beside the sources, the user's cache directory."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    beside = package / "retrieval" / "__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK | os.X_OK) and not beside.is_file():
        return beside
    import platformdirs

    return platformdirs.user_cache_path("m3search") / "loops"


def _machine() -> Iterator[bytes]:
    """What machine code depends on, but for its sources."""
    yield f"{sys.implementation.cache_tag} {getattr(sys, 'abiflags', '')} {sys.platform}".encode()
    for name in ("numba", "llvmlite"):
        spec = importlib.util.find_spec(name)
        where = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
        yield _content(where / "_version.py") + _content(where / "__init__.py")
    yield repr(sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))).encode()
    yield _processor().encode()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a part of it
            first = file.read(2**14).split("\n\n")[
                0
            ]  # the kernel makes it as it is read; it takes long of many processors
    except OSError:
        return repr(platform.uname())
    return "\n".join(line for line in first.splitlines() if line.startswith(_CPU_LINES))


def _read(path: Path) -> tuple[str, list[str]] | None:
    """Sources and files of a mark; None of one that is not there or not whole."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return str(content["sources"]), [str(file) for file in content["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _content(path: Path) -> bytes:
    """Empty of a file that is not there: a source of another version."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _digest(*parts: bytes | str) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        whole.update(len(encoded).to_bytes(8, "little") + encoded)
    return whole.hexdigest()
