"""The command line, the measurement and its table."""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encode.checkpoint import Shape, checkpoint, texts

BENCHMARKS = Path(__file__).parent.parent
LENGTHS = (128, 512, 2048, 8192)
TOKENS = 524_288
"""Of a table's row: as many texts as have so many tokens."""

SMALL = Shape(layers=2, hidden=64, heads=4, inner=128, vocabulary=2000, positions=8194)
NO_GPU = "there is no GPU here that torch can use, so nothing was measured; the same paths are tested on the CPU"

Encode = Callable[[Sequence[str]], Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every contestant at every length; all three outputs are asked of both."""
    args = _parsed(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU)
        return
    shape, budget = (SMALL, 16_384) if args.quick else (Shape(), TOKENS)
    folder = checkpoint(shape, args.cache)
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "the CPU, to try the script",
        "torch": torch.__version__,
        "shape": shape.name,
        "rows": [],
    }
    makers: dict[str, Callable[[], Encode]] = {
        f"m3search {dtype}": _ours(folder, args.device, dtype) for dtype in args.dtypes
    }
    if find_spec("FlagEmbedding") is not None:
        makers["FlagEmbedding fp16"] = _flag(folder, args.device)
    for name, make in makers.items():
        encode = make()
        for length in LENGTHS:
            made = texts(shape, np.full(max(1, budget // length), length), args.seed)
            print(f"{name}: {len(made)} texts of {length} tokens", file=sys.stderr, flush=True)
            record["rows"].append({"name": name, "length": length, **_measure(encode, made, length, args)})
        del encode
        gc.collect()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(report(record))
    print(report(record))


def _measure(encode: Encode, made: Sequence[str], length: int, args: argparse.Namespace) -> dict[str, Any]:
    try:
        encode(made[:2])
        gpu = args.device == "cuda"
        if gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        times = []
        for _ in range(args.passes):
            started = time.perf_counter()
            encode(made)
            times.append(time.perf_counter() - started)
        peak = torch.cuda.max_memory_allocated() if gpu else 0
    except torch.OutOfMemoryError:
        return {"tokens_per_second": None, "peak_bytes": None}
    return {"tokens_per_second": len(made) * length / statistics.median(times), "peak_bytes": peak}


def _ours(folder: Path, device: str, dtype: str) -> Callable[[], Encode]:
    def make() -> Encode:
        from m3search import Encoder

        encoder = Encoder.load(folder, device=device, dtype=dtype)
        return lambda texts: sum(len(part) for part in encoder.encode_iter(texts, colbert=True))

    return make


def _flag(folder: Path, device: str) -> Callable[[], Encode]:
    def make() -> Encode:
        from FlagEmbedding import BGEM3FlagModel

        model = BGEM3FlagModel(str(folder), devices=f"{device}:0" if device == "cuda" else device)

        def encode(texts: Sequence[str]) -> Any:
            return model.encode_corpus(
                list(texts), max_length=8192, return_dense=True, return_sparse=True, return_colbert_vecs=True
            )

        return encode

    return make


def report(record: Mapping[str, Any]) -> str:
    """The table, as Markdown."""
    head = (
        f"# Encoding on a GPU, {record['shape']} with random weights\n\n{record['device']}, torch {record['torch']}; "
    )
    head += f"{record['date']}. Seconds by the clock, medians; all three outputs; memory is the most that torch held.\n"
    lines = [head, "| | tokens a text | tokens / s | peak GB |", "|---|---:|---:|---:|"]
    for row in record["rows"]:
        speed, peak = row["tokens_per_second"], row["peak_bytes"]
        cells = ("out of memory", "") if speed is None else (f"{speed:,.0f}", f"{peak / 1e9:.2f}")
        lines.append(f"| {row['name']} | {row['length']:,} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Encoding on a GPU beside FlagEmbedding.")
    parser.add_argument("--quick", action="store_true", help="a small model")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script (cuda)")
    parser.add_argument("--dtypes", nargs="+", choices=("fp16", "bf16", "fp32"), default=["fp16", "bf16"], help="ours")
    parser.add_argument("--passes", type=int, default=3, help="over the texts (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the texts (0)")
    parser.add_argument("--cache", type=Path, default=BENCHMARKS.parent / "indexes" / "benchmark" / "encode")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARKS / "results" / "gpu-encode", help="results, without their suffixes"
    )
    return parser.parse_args(arguments)
