"""Plot: for every collection the overlap with the true blend against latency, a line per engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid.engine import BLEND

_WIDTH = 2


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Writes an SVG.

    Raises:
        ModuleNotFoundError: there is no matplotlib.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "m3search", "font.size": 9})
    from matplotlib import pyplot as plt

    collections = [one for one in record["collections"] if one["engines"]]
    names = list(dict.fromkeys(name for one in collections for name in one["engines"]))
    colours = dict(zip(names, plt.get_cmap("tab20").colors, strict=False))
    rows = -(-len(collections) // _WIDTH)
    figure, axes = plt.subplots(rows, _WIDTH, figsize=(12, 4.2 * rows), squeeze=False, layout="constrained")
    for axis, collection in zip(axes.flat, collections, strict=False):
        _overlap(axis, collection, colours)
    for axis in axes.flat[len(collections) :]:
        axis.set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _overlap(axis: Any, collection: Mapping[str, Any], colours: Mapping[str, Any]) -> None:
    for name, row in collection["engines"].items():
        points = sorted((one["median_ms"], one["overlap"]) for one in row["points"].values())
        times, overlaps = zip(*points, strict=True)
        missed = [max(1 - overlap, 3e-4) for overlap in overlaps]
        axis.plot(
            times, missed, label=name, color=colours[name], marker="o", markersize=3,
            linewidth=2.5 if name.startswith("m3search") else 1.2, linestyle="-" if row["kind"] == BLEND else ":",
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="median CPU ms a query", ylabel="overlap@10 with the true blend")
    axis.set_title(collection["about"]["title"], fontsize=9)
    ticks = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 3e-4]
    axis.set_yticks(ticks, [*(f"{1 - tick:.4g}" for tick in ticks[:-1]), "all"])
    axis.minorticks_off()
    axis.invert_yaxis()
    axis.grid(visible=True, which="major", linewidth=0.3)
    axis.legend(fontsize=6)
