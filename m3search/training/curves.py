"""Curves: what was logged while training, as a CSV and, where matplotlib is there, as a plot.

Imports matplotlib (extra "train") on use. Invariant: the files are written anew from the whole history each time, so a
training that went on has one curve.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FIRST = ("step", "epoch", "loss", "learning_rate", "grad_norm")
_SUMMARY = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss")


def write_curves(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Writes ``losses.csv``, and ``losses.svg`` where matplotlib is installed.

    Args:
        history: a mapping of values for each time that something was logged, "step" among them.
        folder: where to.
    """
    rows = [row for row in history if not set(_SUMMARY) & set(row)]
    if not rows:
        return
    others = sorted({key for row in rows for key in row} - set(FIRST))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "losses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*FIRST, *others], restval="")
        writer.writeheader()
        writer.writerows(rows)
    _plot(rows, others, folder / "losses.svg")


def _plot(rows: Sequence[Mapping[str, Any]], others: Sequence[str], path: Path) -> None:
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return  # the CSV has it all
    measured = [name for name in others if name.startswith("eval ")]
    figure = Figure(figsize=(8, 3.2 * (1 + bool(measured))), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(1 + bool(measured), squeeze=False)[:, 0]
    drawn = (
        [name for name in ("loss", *others) if name not in measured and any(name in row for row in rows)],
        measured,
    )
    for axis, names in zip(axes, drawn, strict=False):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axis.plot(
                *zip(*points, strict=True), label=name.removeprefix("eval "), marker="." if len(points) < 30 else ""
            )
        if not names:
            continue
        axis.set_xlabel("step")
        axis.legend(fontsize="small")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("loss")
    figure.savefig(path, metadata={"Date": None})
