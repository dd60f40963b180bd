"""Plot: for every collection the latency against k, a line per engine, and the size of the indexes as bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lexical.engines.ours import INDEX, LEG


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Writes an SVG.

    Raises:
        ModuleNotFoundError: there is no matplotlib.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "m3search", "font.size": 9})
    from matplotlib import pyplot as plt

    collections = [one for one in record["collections"].values() if one["engines"]]
    names = list(dict.fromkeys(name for one in collections for name in one["engines"]))
    colours = dict(zip(names, plt.get_cmap("tab10").colors * 2, strict=False))
    figure, axes = plt.subplots(
        len(collections),
        2,
        figsize=(11, 3.6 * len(collections)),
        squeeze=False,
        width_ratios=(3, 2),
        layout="constrained",
    )
    for collection, (left, right) in zip(collections, axes, strict=True):
        _latency(left, collection, colours)
        _sizes(right, collection, colours)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _latency(axis: Any, collection: Mapping[str, Any], colours: Mapping[str, Any]) -> None:
    for name, row in collection["engines"].items():
        ks = [int(k) for k in row["k"]]
        times = [one["median_ms"] for one in row["k"].values()]
        axis.plot(
            ks, times, label=name, color=colours[name], marker="o", markersize=3,
            linewidth=2.5 if name == LEG else 1.2, linestyle="--" if name == INDEX else "-",
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="k", ylabel="median CPU ms a query", title=collection["about"]["title"])
    axis.grid(visible=True, which="major", linewidth=0.3)
    axis.legend(fontsize=7)


def _sizes(axis: Any, collection: Mapping[str, Any], colours: Mapping[str, Any]) -> None:
    """A bar for every index; engines that share one stand once."""
    rows = {row["peer"]: (name, row) for name, row in reversed(collection["engines"].items())}
    for peer, (name, row) in reversed(rows.items()):
        if row["bytes"] is None:
            continue
        structure = row["bytes"] if row["structure_bytes"] is None else row["structure_bytes"]
        axis.barh(peer, structure / 1e6, color=colours[name])
        if structure < row["bytes"]:
            axis.barh(peer, (row["bytes"] - structure) / 1e6, left=structure / 1e6, color=colours[name], alpha=0.4)
    axis.invert_yaxis()
    axis.set(xlabel="index, MB (paler: forward store)")
