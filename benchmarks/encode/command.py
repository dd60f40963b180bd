"""The command line: which tables, on which shapes, where the results go."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from common.machine import machine

from encode import lexical
from encode.checkpoint import Shape, checkpoint, mini_for_flagembedding, texts
from encode.contestants import FLAG, ONNX
from encode.measurement import BENCHMARKS, Process, latency, memory, throughput
from encode.report import report
from encode.targets import lines

SMALL = Shape(layers=2, hidden=64, heads=4, inner=128, vocabulary=2000, positions=600)
PACKAGES = ("m3search", "torch", "FlagEmbedding", "transformers", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; results are written after every table, and a table that is not asked for again is kept."""
    args = _parsed(arguments)
    out: Path = args.out
    record = json.loads(out.with_suffix(".json").read_text()) if out.with_suffix(".json").exists() else {}
    record |= {"date": time.strftime("%Y-%m-%d"), "machine": {**machine(), "versions": _versions()}}
    args.cache.mkdir(parents=True, exist_ok=True)
    for name in args.tables:
        TABLES[name](args, record)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
        out.with_suffix(".md").write_text(report(record))
    print(report(record))
    if not lines(record):
        raise SystemExit("nothing was measured")


def _throughput(
    args: argparse.Namespace, record: dict[str, Any], shape: Shape, count: int, names: Sequence[str], slow: int
) -> None:
    lengths = np.random.default_rng(args.seed).integers(8, 513, count)
    folder = checkpoint(shape, args.cache)
    made = texts(shape, lengths, args.seed)
    processes = [Process(name, folder) for name in names]
    try:
        passes = {name: slow if name == FLAG else args.passes for name in names}
        found = throughput(processes, made, int(lengths.sum()), args.cache, passes)
    finally:
        for process in processes:
            process.__exit__(None, None, None)
    table = {
        "shape": shape.name,
        "texts": count,
        "tokens": int(lengths.sum()),
        "against": names[0],
        "contestants": found,
    }
    kept = [
        other for other in record.get("throughput", []) if (other["shape"], other["against"]) != (shape.name, names[0])
    ]
    record["throughput"] = [*kept, table]


def _full(args: argparse.Namespace, record: dict[str, Any]) -> None:
    """The shape of BGE-M3, few texts: all of them are one batch of FlagEmbedding's."""
    shape, count = (SMALL, 24) if args.quick else (Shape(), args.texts)
    _throughput(args, record, shape, count, (FLAG, "m3search fp32", "m3search bf16", "m3search int8"), args.slow_passes)


def _many(args: argparse.Namespace, record: dict[str, Any]) -> None:
    """Few layers, so that many texts can be encoded: FlagEmbedding's second run of its first batch weighs less."""
    shape, count = (SMALL, 40) if args.quick else (Shape(layers=2), 768)
    _throughput(args, record, shape, count, (FLAG, "m3search fp32", "m3search bf16"), 1)


def _int8(args: argparse.Namespace, record: dict[str, Any]) -> None:
    """int8 beside ONNX Runtime's, against our fp32."""
    shape, count = (SMALL, 32) if args.quick else (Shape(layers=4), 160)
    _throughput(args, record, shape, count, ("m3search fp32", ONNX, "m3search int8", "m3search bf16"), args.passes)


def _latency(args: argparse.Namespace, record: dict[str, Any]) -> None:
    tables = []
    for name in ("mini", "m3"):
        shape = SMALL if args.quick else Shape()
        folder = mini_for_flagembedding(args.cache) if name == "mini" else checkpoint(shape, args.cache)
        count = 12 if args.quick else (200 if name == "mini" else 40)
        if name == "mini":
            generator = np.random.default_rng(args.seed)
            common = "how what open read zip file library archive late list index search fox dog book page".split()
            queries = [" ".join(generator.choice(common, 8)) + f" {row}" for row in range(count)]
        else:
            queries = texts(shape, np.full(count, 10), args.seed)
        processes = [Process(one, folder) for one in (FLAG, "m3search fp32", "m3search bf16")]
        try:
            found = latency(processes, queries, args.cache, args.passes)
        finally:
            for process in processes:
                process.__exit__(None, None, None)
        tables.append({"model": "mini" if name == "mini" else shape.name, "queries": count, "seconds": found})
    record["latency"] = tables


def _lexical(args: argparse.Namespace, record: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint(SMALL, args.cache))
    record["lexical"] = lexical.measure(Shape().vocabulary, tokenizer, passes=9, seed=args.seed)


def _memory(args: argparse.Namespace, record: dict[str, Any]) -> None:
    """One layer of BGE-M3's width: what is held does not depend on the layers."""
    shape, count = (SMALL, 300) if args.quick else (Shape(layers=1), 10_000)
    folder, made = checkpoint(shape, args.cache), texts(shape, np.full(count, 100), args.seed)
    found = {}
    for name in ("m3search fp32", FLAG):
        with Process(name, folder) as process:
            found[name] = memory(process, made, args.cache)
    record["memory"] = {
        "shape": shape.name,
        "texts": count,
        "tokens": 100,
        "bytes": {name: one["bytes"] for name, one in found.items()},
        "seconds": {name: one["seconds"] for name, one in found.items()},
    }


def _long(args: argparse.Namespace, record: dict[str, Any]) -> None:
    """One text as long as the model takes, in one piece, and all that the process then holds."""
    shape = SMALL if args.quick else Shape()
    length = shape.positions - 2
    made = texts(shape, np.array([8, 8, 8, 8, length]), args.seed)
    folder, found = checkpoint(shape, args.cache), {}
    for name in ("m3search fp32", "m3search bf16"):
        with Process(name, folder) as process:
            found[name] = memory(process, made, args.cache)
    record["long"] = {"shape": shape.name, "tokens": length, "contestants": found}


TABLES: dict[str, Callable[[argparse.Namespace, dict[str, Any]], None]] = {
    "lexical": _lexical,
    "latency": _latency,
    "full": _full,
    "int8": _int8,
    "memory": _memory,
    "long": _long,
    "many": _many,
}


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The encoder beside FlagEmbedding and ONNX Runtime.")
    parser.add_argument("--quick", action="store_true", help="small models, few texts, figures without a verdict")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES), help="which of them (all)")
    parser.add_argument("--texts", type=int, default=24, help="texts of the table in BGE-M3's shape (24)")
    parser.add_argument("--passes", type=int, default=3, help="over the texts (3)")
    parser.add_argument("--slow-passes", type=int, default=2, help="the same for FlagEmbedding in BGE-M3's shape (2)")
    parser.add_argument("--seed", type=int, default=0, help="of the texts (0)")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "encode")
    parser.add_argument("--out", type=Path, default=BENCHMARKS / "results" / "encode", help="results, without suffixes")
    return parser.parse_args(arguments)


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions
